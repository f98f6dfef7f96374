import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from tests.activations.conftest import assert_equal
from valueattr.activations import CaptureError, _shards, import_vllm


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
    monkeypatch.setattr(_shards, "_SHARD_BYTES", 1)
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
