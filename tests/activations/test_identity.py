"""A store holds the activations of one model."""

import copy
import logging

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.activations.conftest import CONFIGS, TEXTS, build
from tests.activations.test_shards import StoppedError, interrupt
from valueattr.activations import ActivationStore, CaptureError, ModelIdentity, _shards, capture


def with_another_weight():
    model = build("llama")
    with torch.no_grad():
        model.lm_head.weight[7, 3] += 1
    return model


def with_another_rotation():
    config = copy.deepcopy(CONFIGS["llama"])
    config.rope_parameters["rope_theta"] *= 2
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize(
    ("make", "differs"),
    [
        (with_another_weight, "weights differ"),
        (with_another_rotation, "config differ"),
        (lambda: build("llama").to(torch.bfloat16), "weights and dtype differ"),
        (lambda: build("gemma"), "weights and config differ"),
    ],
)
@pytest.mark.parametrize("change", [{}, {"texts": [*TEXTS, "more"]}, {"name": "other"}])
def test_a_capture_with_another_model_returned_the_old_activations(
    tmp_path, tokenizer, make, differs, change
):
    store = capture(build("llama"), tokenizer, TEXTS, store=tmp_path / "s")
    before = {file.name: file.read_bytes() for file in (tmp_path / "s").iterdir()}
    with pytest.raises(CaptureError, match=f"holds activations of another model: {differs}"):
        capture(make(), tokenizer, **{"texts": TEXTS, "store": tmp_path / "s", **change})
    assert {file.name: file.read_bytes() for file in (tmp_path / "s").iterdir()} == before
    assert capture(build("llama"), tokenizer, TEXTS, store=tmp_path / "s").rows == store.rows


def test_another_tokenizer_is_another_model(tmp_path, tokenizer):
    capture(build("llama"), tokenizer, TEXTS, store=tmp_path / "s")
    tokenizer(TEXTS, padding=True, truncation=True, max_length=3)  # which changes no model
    capture(build("llama"), tokenizer, [*TEXTS, "more"], store=tmp_path / "s")
    other = copy.deepcopy(tokenizer)
    other.add_tokens(["<more>"])
    with pytest.raises(CaptureError, match="tokenizer differ"):
        capture(build("llama"), other, [*TEXTS, "more"], store=tmp_path / "s")


def test_a_store_says_which_model_it_is_of(tmp_path, tokenizer):
    model = build("llama")
    model.config = copy.deepcopy(model.config)
    model.config._name_or_path, model.config._commit_hash = "some/model", "abc123"
    models = capture(model, tokenizer, TEXTS, store=tmp_path / "s").models
    assert models == {"texts": ModelIdentity.of(model, tokenizer)}
    assert str(models["texts"]) == "some/model at revision abc123 in float32"


def test_weights_that_are_tied_or_not_in_memory(tokenizer):
    tied = build("gpt2")
    assert len(tied.state_dict()) > len(dict(tied.named_parameters()))
    assert ModelIdentity.of(tied, tokenizer).weights
    with torch.device("meta"):
        offloaded = AutoModelForCausalLM.from_config(CONFIGS["gpt2"])
    unknown = ModelIdentity.of(offloaded, tokenizer)
    assert unknown.weights is None
    assert "weights" not in unknown.differences(ModelIdentity.of(tied, tokenizer))


def without_record(folder):
    """Makes a store as it was written before models were recorded."""
    import pyarrow.parquet as pq

    file = folder / "texts-texts.parquet"
    pq.write_table(pq.read_table(file).replace_schema_metadata({"positions": "last"}), file)
    (folder / "texts-texts.parquet.xxh3").unlink()


def test_a_store_without_a_model_is_gone_on_with_and_says_what_it_cannot_check(tmp_path, tokenizer, caplog):
    folder = tmp_path / "s"
    capture(build("llama"), tokenizer, TEXTS, store=folder)
    assert not caplog.records
    without_record(folder)
    assert ActivationStore(folder).models == {"texts": None}
    with caplog.at_level(logging.WARNING, "valueattr"):
        capture(build("llama"), tokenizer, [*TEXTS, "more"], store=folder)
    (record,) = caplog.records
    assert "whether 'texts' and this capture are of one model is not checked" in record.getMessage()
    # What was not checked does not become known by what is added to it.
    assert ActivationStore(folder).models == {"texts": None}


def test_a_capture_that_was_killed_before_its_first_row_binds_no_model(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(_shards, "_SHARD_BYTES", 1 << 30)
    first = build("gemma")

    def broken(*_, **__):
        raise StoppedError

    monkeypatch.setattr(first, "forward", broken)
    with pytest.raises(StoppedError):
        capture(first, tokenizer, TEXTS, store=tmp_path / "s", progress=interrupt)
    model = build("llama")
    store = capture(model, tokenizer, TEXTS, store=tmp_path / "s")
    assert store.models == {"texts": ModelIdentity.of(model, tokenizer)}
    np.testing.assert_array_equal(store.read(2), capture(model, tokenizer, TEXTS).read(2))
