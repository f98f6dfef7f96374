"""What a model cannot read is an error before it is read."""

import copy

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BloomConfig,
    GPT2Config,
    LlamaConfig,
    MptConfig,
    RobertaConfig,
)

from tests.activations.conftest import CONFIGS, SHAPE, build
from valueattr.activations import ActivationStore, CaptureError, TokenLimits, capture


@pytest.mark.parametrize("name", CONFIGS)
def test_a_context_longer_than_the_models_is_an_error_for_every_architecture(name, tmp_path, tokenizer):
    model = build(name)
    model.config = copy.deepcopy(model.config)
    model.config.max_position_embeddings = 64
    texts = ["the " * 30, "the emblem of " * 60]
    count = len(tokenizer(texts[1])["input_ids"])
    with pytest.raises(
        CaptureError, match=f"text 1 has {count} tokens; the model reads at most 64: 'the emblem"
    ):
        capture(model, tokenizer, texts, store=tmp_path / "s")
    ActivationStore(tmp_path / "s").verify()


def test_a_tokenizer_of_another_model_is_an_error_and_no_index_out_of_range(tokenizer):
    model = AutoModelForCausalLM.from_config(LlamaConfig(**{**SHAPE, "vocab_size": 20}, intermediate_size=64))
    with pytest.raises(CaptureError, match=r"text 0 has the token \d+, and the model only those below 20"):
        capture(model.eval(), tokenizer, ["the emblem"])


def limits(config):
    with torch.device("meta"):
        return TokenLimits.of(AutoModelForCausalLM.from_config(config))


def test_where_a_models_context_is_written():
    small = {"intermediate_size": 64, "max_position_embeddings": 100}
    assert limits(GPT2Config(n_embd=32, n_layer=1, n_head=4, n_positions=77, vocab_size=50)) == (77, 50)
    assert limits(LlamaConfig(**SHAPE, **small)) == (100, 1000)
    assert limits(BloomConfig(hidden_size=32, n_layer=1, n_head=4, vocab_size=50)).context is None
    assert limits(MptConfig(d_model=32, n_heads=4, n_layers=1, max_seq_len=99, vocab_size=50)).context == 99
    stretched = {
        "rope_type": "yarn",
        "rope_theta": 1e4,
        "factor": 4.0,
        "original_max_position_embeddings": 100,
    }
    assert limits(LlamaConfig(**SHAPE, **small, rope_parameters=stretched)).context == 400


def test_positions_that_are_of_no_token_are_no_context():
    """RoBERTa's positions begin after the number of the token that it pads with."""
    size = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 8}
    more = {"max_position_embeddings": 40, "vocab_size": 50, "is_decoder": True}
    assert limits(BertConfig(**size, **more)).context == 40
    assert limits(RobertaConfig(**size, **more, pad_token_id=1)).context == 38
