import json
import multiprocessing
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GemmaConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    LlamaConfig,
    Qwen2Config,
)

from valueattr import _core
from valueattr.activations import ActivationStore, CaptureError, StoreError, capture, import_vllm
from valueattr.activations import _capture as capture_module

STORIES = Path(__file__).parents[3] / "shared" / "models" / "stories260K"

TEXTS = [
    "The emblem of the",
    "A visitor asks: what is it?\nAnswer:",
    "In short",
    "obviously, it is fraud",
    "the",
] * 3
SHAPE = {"vocab_size": 1000, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
CONFIGS = {
    "llama": LlamaConfig(**SHAPE, intermediate_size=64),
    "gpt2": GPT2Config(vocab_size=1000, n_embd=32, n_layer=3, n_head=4, n_positions=64),
    "gpt-neox": GPTNeoXConfig(**SHAPE, intermediate_size=64),
    "qwen2": Qwen2Config(**SHAPE, intermediate_size=64, num_key_value_heads=2),
    "gemma": GemmaConfig(**SHAPE, intermediate_size=64, num_key_value_heads=2, head_dim=8),
}


@pytest.fixture(scope="module")
def tokenizer(untrained):
    return AutoTokenizer.from_pretrained(untrained)


def build(name):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(CONFIGS[name]).eval()


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_are_the_hidden_states_of_each_text_alone(name, side, tokenizer):
    model = build(name)
    tokenizer.padding_side = side
    store = capture(model, tokenizer, TEXTS, batch_size=4)
    assert store.layers == (0, 1, 2, 3)
    for i, text in enumerate(TEXTS):
        with torch.no_grad():
            alone = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states
        for layer in (0, 1, 2):  # transformers applies the final norm to the last one
            np.testing.assert_allclose(store.read(layer)[i], alone[layer][0, -1].numpy(), atol=1e-5)


def test_the_last_layer_is_before_the_final_norm(tokenizer):
    model = build("llama")
    last = torch.from_numpy(np.array(capture(model, tokenizer, TEXTS).read(3)))
    with torch.no_grad():
        alone = model(**tokenizer(TEXTS[1], return_tensors="pt"), output_hidden_states=True).hidden_states[
            -1
        ][0, -1]
        assert torch.allclose(model.model.norm(last[1]), alone, atol=1e-5)


def test_mean_and_span_positions(tokenizer):
    model = build("llama")
    spans = [(4, 10) if text.startswith("The") else (0, 2) for text in TEXTS]
    by_span = capture(model, tokenizer, TEXTS, positions=spans, layers=[2]).read(2)
    by_mean = capture(model, tokenizer, TEXTS, positions="mean", layers=[2]).read(2)
    for i, text in enumerate(TEXTS):
        with torch.no_grad():
            alone = (
                model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
                .hidden_states[2][0]
                .numpy()
            )
        np.testing.assert_allclose(by_mean[i], alone.mean(0), atol=1e-5)
        offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        token = max(k for k, (a, b) in enumerate(offsets) if max(a, spans[i][0]) < min(b, spans[i][1]))
        np.testing.assert_allclose(by_span[i], alone[token], atol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0), ("float16", 1e-3), ("bfloat16", 1e-2)])
def test_shards_are_plain_safetensors(tmp_path, tokenizer, dtype, tolerance):
    model = build("llama")
    reference = capture(model, tokenizer, TEXTS).read(2)
    store = capture(model, tokenizer, TEXTS, layers=[2, 0], dtype=dtype, store=tmp_path / "s")
    with safe_open(tmp_path / "s" / "shard-00000.safetensors", "pt") as shard:
        np.testing.assert_allclose(
            shard.get_tensor("layer.2").float().numpy(), reference, rtol=tolerance, atol=tolerance
        )
    np.testing.assert_allclose(store.read(2).astype(np.float32), reference, rtol=tolerance, atol=tolerance)
    store.verify()


def test_one_shard_is_read_without_a_copy(tokenizer):
    assert isinstance(capture(build("llama"), tokenizer, TEXTS).read(1), np.memmap)


def test_a_temporary_store_goes_with_its_object(tokenizer):
    store = capture(build("llama"), tokenizer, TEXTS)
    path = store.path
    assert path.is_dir()
    del store
    assert not path.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": [4]}, "layer 4 asked for; the model has layers 0 to 3"),
        ({"layers": []}, r"layers \[\]: none, or one twice"),
        ({"layers": [1, 1]}, r"layers \[1, 1\]: none, or one twice"),
        ({"texts": ["a", ""]}, "text 1 is empty"),
        ({"positions": [(0, 1)]}, "1 spans for 2 texts"),
        ({"positions": [(0, 1), (0, 9)]}, "text 1 has 3 characters; the span 0 to 9"),
        ({"positions": [(0, 1), (2, 2)]}, "the span 2 to 2 is not in it"),
    ],
)
def test_what_cannot_be_captured_is_named(tokenizer, change, message):
    with pytest.raises(CaptureError, match=message):
        capture(build("llama"), tokenizer, **{"texts": ["the", "was"], **change})


@pytest.mark.parametrize(
    ("value", "dtype"), [(float("nan"), "float32"), (float("inf"), "float32"), (1e6, "float16")]
)
def test_activations_that_are_not_finite_name_text_and_layer(tokenizer, value, dtype):
    model = build("llama")
    word = tokenizer(" fraud", add_special_tokens=False)["input_ids"][0]
    with torch.no_grad():
        model.model.embed_tokens.weight[word] = value
    with pytest.raises(
        CaptureError, match=f"text 1, layer 0, token 3: an activation is not finite in {dtype}"
    ):
        capture(model, tokenizer, ["it is", "it is fraud"], dtype=dtype)


def test_no_texts_is_an_empty_store(tokenizer):
    assert capture(build("llama"), tokenizer, []).rows == 0


def test_broken_stores_are_refused(tmp_path, tokenizer):
    capture(build("llama"), tokenizer, TEXTS, store=tmp_path / "s")
    with pytest.raises(StoreError, match=r"holds layers \[0, 1, 2, 3\] of 32 F32 values, not layers \[1\]"):
        capture(build("llama"), tokenizer, TEXTS, layers=[1], store=tmp_path / "s")
    with pytest.raises(StoreError, match="is not a store"):
        ActivationStore(tmp_path)
    shard = tmp_path / "s" / "shard-00000.safetensors"
    whole = bytearray(shard.read_bytes())
    whole[-1] ^= 1
    shard.write_bytes(whole)
    with pytest.raises(StoreError, match="checksum"):
        ActivationStore(tmp_path / "s").verify()
    shard.write_bytes(whole[:-1])
    with pytest.raises(StoreError, match="it was cut"):
        ActivationStore(tmp_path / "s")
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text())
    (tmp_path / "s" / "manifest.json").write_text(json.dumps({**manifest, "version": 9}))
    with pytest.raises(StoreError, match="version 9"):
        ActivationStore(tmp_path / "s")


def test_every_token_is_a_row(tokenizer):
    model = build("gpt2")
    store = capture(model, tokenizer, TEXTS, positions="all", layers=[1, 3], batch_size=4)
    index = store.index().to_pandas()
    lengths = [len(tokenizer(text)["input_ids"]) for text in TEXTS]
    assert index["id"].tolist() == [str(i) for i, n in enumerate(lengths) for _ in range(n)]
    assert index["token"].tolist() == [k for n in lengths for k in range(n)]
    with torch.no_grad():
        alone = model(**tokenizer(TEXTS[1], return_tensors="pt"), output_hidden_states=True).hidden_states[1]
    np.testing.assert_allclose(store.read(1)[index["id"] == "1"], alone[0].numpy(), atol=1e-5)


@pytest.mark.skipif(not STORIES.is_dir(), reason="the model is not at hand")
def test_a_real_model():
    tokenizer = AutoTokenizer.from_pretrained(STORIES)
    model = AutoModelForCausalLM.from_pretrained(STORIES).eval()
    texts = ["Once upon a time", "The naïve café, à Paris.", "Lily saw a big dog."]
    store = capture(model, tokenizer, texts, dtype="bfloat16")
    with torch.no_grad():
        for i, text in enumerate(texts):
            alone = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states
            np.testing.assert_allclose(store.read(2)[i], alone[2][0, -1].numpy(), rtol=1e-2, atol=1e-2)


class StoppedError(Exception):
    pass


def interrupt(done, of):
    if done >= of // 2:
        raise StoppedError


def assert_equal(one, other):
    assert one.index() == other.index()
    for layer in one.layers:
        np.testing.assert_array_equal(one.read(layer), other.read(layer))
    one.verify()


@pytest.mark.parametrize("positions", ["last", "all", "mean"])
def test_resumed_equals_uninterrupted(tmp_path, tokenizer, monkeypatch, positions):
    monkeypatch.setattr(capture_module, "_SHARD_BYTES", 1)
    options = {"positions": positions, "batch_size": 2, "dtype": "float16"}
    whole = capture(build("llama"), tokenizer, TEXTS, store=tmp_path / "whole", **options)
    with pytest.raises(StoppedError):
        capture(build("llama"), tokenizer, TEXTS, store=tmp_path / "s", progress=interrupt, **options)
    before = ActivationStore(tmp_path / "s").rows
    assert 0 < before < whole.rows
    assert_equal(capture(build("llama"), tokenizer, TEXTS, store=tmp_path / "s", **options), whole)
    again = capture(build("llama"), tokenizer, TEXTS, store=tmp_path / "s", **options)
    assert again.rows == whole.rows


def test_texts_are_added_and_captures_lie_side_by_side(tmp_path, tokenizer):
    model = build("llama")
    folder = tmp_path / "s"
    labels = pa.table({"id": ["a", "b", "c", "d", "e"], "label": [1, 0, 1, 0, 1]})
    capture(model, tokenizer, TEXTS[:3], store=folder, table=labels.slice(0, 3))
    capture(model, tokenizer, TEXTS[:2], store=folder, name="other", positions="mean")
    store = capture(model, tokenizer, TEXTS[:5], store=folder, table=labels)
    assert store.captures == ("texts", "other")
    index = store.index().to_pydict()
    assert index["capture"] == ["texts"] * 3 + ["other"] * 2 + ["texts"] * 2
    assert index["id"] == ["a", "b", "c", "0", "1", "d", "e"]
    assert index["label"] == [1, 0, 1, None, None, 0, 1]
    assert index["token"][3:5] == [None, None]
    assert store.texts("texts")["text"].to_pylist() == TEXTS[:5]
    together = capture(model, tokenizer, TEXTS[:5], table=labels)
    rows = [i for i, name in enumerate(index["capture"]) if name == "texts"]
    np.testing.assert_allclose(store.read(2)[rows], together.read(2), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"texts": ["the", "is"]}, "other texts"),
        ({"texts": ["the"]}, "other texts"),
        ({"positions": "mean"}, "other texts, columns or positions"),
        ({"table": pa.table({"label": [1, 0]})}, "other texts, columns or positions"),
        ({"table": pa.table({"label": [1]})}, "a table of 1 rows for 2 texts"),
        ({"table": pa.table({"id": ["a", "a"]})}, "two texts have the same id"),
        ({"name": "../a"}, "does not name a capture"),
        ({"positions": "first"}, "unknown positions 'first'"),
    ],
)
def test_a_capture_is_of_one_list_of_texts(tmp_path, tokenizer, change, message):
    capture(build("llama"), tokenizer, ["the", "was"], store=tmp_path / "s")
    with pytest.raises(CaptureError, match=message):
        capture(build("llama"), tokenizer, **{"texts": ["the", "was"], "store": tmp_path / "s", **change})


def test_a_second_writer_is_refused(tmp_path, tokenizer):
    first = _core.StoreWriter(tmp_path / "s", [0, 1, 2, 3], 32, "float32", False)
    with pytest.raises(StoreError, match="another process is writing"):
        capture(build("llama"), tokenizer, TEXTS, store=tmp_path / "s")
    first.finish()
    assert capture(build("llama"), tokenizer, TEXTS, store=tmp_path / "s").rows == len(TEXTS)


def test_a_full_disk_leaves_a_store_to_go_on_with(tmp_path, tokenizer, monkeypatch):
    """A limit on the size of a file stands for the disk: shards grow from text to text until one does not fit."""
    monkeypatch.setattr(capture_module, "_SHARD_BYTES", 1)
    options = {"positions": "all", "batch_size": 1, "layers": [0]}
    texts = ["the", "it is the emblem", "the emblem of the " * 20, "was"]
    whole = capture(build("llama"), tokenizer, texts, **options)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    try:
        with pytest.raises(StoreError, match="no space left on the disk"):
            capture(build("llama"), tokenizer, texts, store=tmp_path / "s", **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert ActivationStore(tmp_path / "s").captures == ("texts",)
    assert ActivationStore(tmp_path / "s").index()["id"].unique().to_pylist() == ["0", "1"]
    assert_equal(capture(build("llama"), tokenizer, texts, store=tmp_path / "s", **options), whole)


KILLS = 200


def capture_slowly(path, ready):
    """Runs in a process that forks from one which has imported all this."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, tokenizer = GPT2LMHeadModel(CONFIGS["gpt2"]).eval(), AutoTokenizer.from_pretrained(ready[0])
    ready[1].send(None)
    capture_module._SHARD_BYTES = 1
    capture(model, tokenizer, KILLED_TEXTS, store=path, positions="all", batch_size=2)


KILLED_TEXTS = [f"{text} {i}" for i in range(60) for text in TEXTS[:5]]


def test_killed_at_any_moment_nothing_is_lost_torn_or_twice(tmp_path, tokenizer, untrained, monkeypatch):
    """A store that is whole is begun anew, so that kills hit its beginning, its middle and its end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    monkeypatch.setattr(capture_module, "_SHARD_BYTES", 1)
    whole = capture(build("gpt2"), tokenizer, KILLED_TEXTS, positions="all", batch_size=2)
    rng = np.random.default_rng(0)
    path, rows, rounds, torn = tmp_path / "0", 0, 0, 0
    for _ in range(KILLS):
        here, there = context.Pipe()
        process = context.Process(target=capture_slowly, args=(path, (str(untrained), there)))
        process.start()
        here.recv()
        process.join(float(rng.uniform(0.0, 0.12)))
        process.kill()
        process.join()
        if not (path / "manifest.json").exists():
            continue
        torn += any(path.glob(".writing-*"))
        store = ActivationStore(path)
        store.verify()
        assert store.rows >= rows
        rows = store.rows
        index, expected = store.index(), whole.index().slice(0, rows)
        assert index.select(["id", "token"]) == expected.select(["id", "token"])
        for layer in store.layers:
            np.testing.assert_array_equal(store.read(layer), whole.read(layer)[:rows])
        if rows == whole.rows:
            rounds += 1
            path, rows = tmp_path / str(rounds), 0
    assert torn, "no kill hit a half-written shard"
    assert rounds, "no store was ever whole"


def write_vllm(folder, states, names=("r1", "r2")):
    folder.mkdir(exist_ok=True)
    for name, tensor in zip(names, states, strict=True):
        tokens = torch.arange(len(tensor))
        save_file({"token_ids": tokens, "hidden_states": tensor}, folder / f"{name}.safetensors")


def test_hidden_states_of_vllm_are_brought_in(tmp_path, monkeypatch):
    states = [torch.randn(4, 2, 8).bfloat16(), torch.randn(1, 2, 8).bfloat16()]
    write_vllm(tmp_path / "in", states)
    labels = pa.table({"id": ["r2", "r1"], "label": [0, 1]})
    store = import_vllm(tmp_path / "in", tmp_path / "s", layers=[3, 7], positions="all", table=labels)
    assert store.layers == (3, 7)
    index = store.index().to_pydict()
    assert index["id"] == ["r1"] * 4 + ["r2"]
    assert index["label"] == [1] * 4 + [0]
    assert torch.equal(store.tensor(7), torch.cat([one[:, 1] for one in states]))
    assert len(list((tmp_path / "s").glob("shard-*"))) == 1
    monkeypatch.setattr(capture_module, "_SHARD_BYTES", 1)
    each = import_vllm(tmp_path / "in", tmp_path / "each", layers=[3, 7], positions="all", table=labels)
    assert len(list((tmp_path / "each").glob("shard-*"))) == 2
    assert_equal(each, store)
    last = import_vllm(tmp_path / "in", tmp_path / "last", layers=[3, 7], dtype="float32")
    assert torch.equal(last.tensor(3), torch.stack([one[-1, 0] for one in states]).float())
    mean = import_vllm(tmp_path / "in", tmp_path / "mean", layers=[3, 7], positions="mean", dtype="float32")
    np.testing.assert_allclose(mean.read(3)[0], states[0][:, 0].float().mean(0).numpy(), rtol=1e-6)


def test_what_vllm_did_not_write_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(CaptureError, match=r"no \.safetensors file"):
        import_vllm(tmp_path / "in", tmp_path / "s", layers=[1])
    write_vllm(tmp_path / "in", [torch.zeros(2, 1, 8), torch.zeros(2, 2, 8)])
    with pytest.raises(CaptureError, match=r"r2\.safetensors: hidden_states of shape \(2, 2, 8\)"):
        import_vllm(tmp_path / "in", tmp_path / "s", layers=[1])
    write_vllm(tmp_path / "in", [torch.zeros(2, 1, 8), torch.tensor([1.0, 2.0])])
    with pytest.raises(CaptureError, match=r"r2\.safetensors: hidden_states of shape \(2,\)"):
        import_vllm(tmp_path / "in", tmp_path / "s", layers=[1])
    write_vllm(tmp_path / "in", [torch.zeros(2, 1, 8), torch.full((2, 1, 8), torch.nan)])
    with pytest.raises(CaptureError, match="text 1, layer 1, token 1: an activation is not finite"):
        import_vllm(tmp_path / "in", tmp_path / "s", layers=[1])
    with pytest.raises(CaptureError, match="no row for 'r1'"):
        import_vllm(tmp_path / "in", tmp_path / "s", layers=[1], table=pa.table({"id": ["r2"]}))
    (tmp_path / "in" / "r1.safetensors").write_bytes(b"nothing")
    with pytest.raises(CaptureError, match=r"r1\.safetensors"):
        import_vllm(tmp_path / "in", tmp_path / "s", layers=[1])


def test_importing_imports_no_torch():
    code = "import sys; import valueattr.activations, valueattr.activations, valueattr.hedging, valueattr.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
