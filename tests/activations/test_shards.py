import json
import multiprocessing
import resource
import signal
import time

import numpy as np
import pandas  # noqa: F401 - pyarrow imports it at first use, for which a process that is soon killed has no time
import pytest
import torch
from safetensors import safe_open
from transformers import AutoTokenizer, GPT2LMHeadModel

from tests.activations.conftest import CONFIGS, TEXTS, assert_equal, build
from valueattr import _core
from valueattr.activations import ActivationStore, CaptureError, StoreError, _shards, capture


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


class StoppedError(Exception):
    pass


def interrupt(done, of):
    if done >= of // 2:
        raise StoppedError


@pytest.mark.parametrize("positions", ["last", "all", "mean"])
def test_resumed_equals_uninterrupted(tmp_path, tokenizer, monkeypatch, positions):
    monkeypatch.setattr(_shards, "_SHARD_BYTES", 1)
    options = {"positions": positions, "batch_size": 2, "dtype": "float16"}
    whole = capture(build("llama"), tokenizer, TEXTS, store=tmp_path / "whole", **options)
    with pytest.raises(StoppedError):
        capture(build("llama"), tokenizer, TEXTS, store=tmp_path / "s", progress=interrupt, **options)
    before = ActivationStore(tmp_path / "s").rows
    assert 0 < before < whole.rows
    assert_equal(capture(build("llama"), tokenizer, TEXTS, store=tmp_path / "s", **options), whole)
    again = capture(build("llama"), tokenizer, TEXTS, store=tmp_path / "s", **options)
    assert again.rows == whole.rows


def test_a_second_writer_is_refused(tmp_path, tokenizer):
    first = _core.StoreWriter(tmp_path / "s", [0, 1, 2, 3], 32, "float32", False)
    with pytest.raises(StoreError, match="another process is writing"):
        capture(build("llama"), tokenizer, TEXTS, store=tmp_path / "s")
    first.finish()
    assert capture(build("llama"), tokenizer, TEXTS, store=tmp_path / "s").rows == len(TEXTS)


def test_a_thread_that_cannot_be_started_is_an_error_of_the_store(tmp_path, tokenizer, monkeypatch):
    def submit(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_shards.ThreadPoolExecutor, "submit", submit)
    with pytest.raises(StoreError, match="the thread that writes cannot be started: can't start new thread"):
        capture(build("llama"), tokenizer, TEXTS, store=tmp_path / "s")


def test_a_full_disk_leaves_a_store_to_go_on_with(tmp_path, tokenizer, monkeypatch):
    """A limit on the size of a file stands for the disk: shards grow from text to text until one does not fit."""
    monkeypatch.setattr(_shards, "_SHARD_BYTES", 1)
    options = {"positions": "all", "batch_size": 1, "layers": [0]}
    texts = ["the", "it is the emblem", "the emblem of the " * 20, "was"]
    whole = capture(build("llama"), tokenizer, texts, **options)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    try:
        with pytest.raises(StoreError, match="no space left on the disk") as failure:
            capture(build("llama"), tokenizer, texts, store=tmp_path / "s", **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert ActivationStore(tmp_path / "s").captures == ("texts",)
    assert ActivationStore(tmp_path / "s").index()["id"].unique().to_pylist() == ["0", "1"]
    assert_equal(capture(build("llama"), tokenizer, texts, store=tmp_path / "s", **options), whole)
    del failure  # it held the first writer until here: that one must have let go by itself


def capture_slowly(path, ready):
    """Runs in a process that forks from one which has imported all this."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, tokenizer = GPT2LMHeadModel(CONFIGS["gpt2"]).eval(), AutoTokenizer.from_pretrained(ready[0])
    ready[1].send(None)
    _shards._SHARD_BYTES = 1
    capture(model, tokenizer, KILLED_TEXTS, store=path, positions="all", batch_size=2)


KILLED_TEXTS = [f"{text} {i}" for i in range(60) for text in TEXTS[:5]]


@pytest.mark.parametrize("kills", [50, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_at_any_moment_nothing_is_lost_torn_or_twice(
    kills, tmp_path, tokenizer, untrained, monkeypatch
):
    """A store that is whole is begun anew, so that kills hit its beginning, its middle and its end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    monkeypatch.setattr(_shards, "_SHARD_BYTES", 1)
    whole = capture(build("gpt2"), tokenizer, KILLED_TEXTS, positions="all", batch_size=2)
    rng = np.random.default_rng(0)
    path, rows, rounds, torn = tmp_path / "0", 0, 0, 0
    for kill in range(kills):
        here, there = context.Pipe()
        process = context.Process(target=capture_slowly, args=(path, (str(untrained), there)))
        process.start()
        here.recv()
        if kill % 2:
            process.join(float(rng.uniform(0.0, 0.12)))
        else:  # in the middle of a shard, however quick the machine is
            seen_by = time.monotonic() + 0.5
            while process.is_alive() and time.monotonic() < seen_by and not any(path.glob(".writing-*")):
                pass
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
    assert_equal(
        capture(build("gpt2"), tokenizer, KILLED_TEXTS, store=path, positions="all", batch_size=2), whole
    )
