import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    Qwen2Config,
)

from valueattr.measures.activations import ActivationStore, CaptureError, StoreError, capture

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
    with pytest.raises(CaptureError, match=f"text 1, layer 0: an activation is not finite in {dtype}"):
        capture(model, tokenizer, ["it is", "it is fraud"], dtype=dtype)


def test_no_texts_is_an_empty_store(tokenizer):
    assert capture(build("llama"), tokenizer, []).rows == 0


def test_broken_stores_are_refused(tmp_path, tokenizer):
    capture(build("llama"), tokenizer, TEXTS, store=tmp_path / "s")
    with pytest.raises(StoreError, match="Manifest"):
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


WRITER = textwrap.dedent("""
    import sys
    import numpy as np
    from valueattr import _core
    writer = _core.StoreWriter(sys.argv[1], [0, 1], 64, "float32", True)
    print(writer.rows, flush=True)
    for i in range(writer.rows // 16, 400):
        rows = np.full((16, 64), i, "<f4").view(np.uint8).reshape(-1)
        writer.append(16, [rows, rows])
""")


def test_killed_at_any_moment_nothing_is_lost_torn_or_twice(tmp_path):
    rng = np.random.default_rng(0)
    rows = 0
    for _ in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path / "s"], stdout=subprocess.PIPE, text=True
        )
        resumed_at = int(process.stdout.readline())
        assert resumed_at >= rows
        try:
            process.wait(timeout=float(rng.uniform(0.0, 0.05)))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        store = ActivationStore(tmp_path / "s")
        store.verify()
        rows = store.rows
        assert rows % 16 == 0
        if rows:
            assert (store.read(1)[:, 0] == np.repeat(np.arange(rows // 16), 16)).all()


def test_importing_imports_no_torch():
    code = "import sys; import valueattr.measures.activations, valueattr.measures.hedging, valueattr.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
