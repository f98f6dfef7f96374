from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from valueattr.model import (
    ModelError,
    closed_set_log_probs,
    load_model,
    load_tokenizer,
    log_p_per_token,
    position_ids,
)


def models(untrained):
    """One with rotary positions, one with absolute ones."""
    tokenizer = load_tokenizer(untrained)
    torch.manual_seed(0)
    gpt2 = GPT2LMHeadModel(
        GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=64)
    )
    torch.nn.init.normal_(gpt2.transformer.wpe.weight, std=1.0)  # so that a wrong position shows
    return tokenizer, {"llama": load_model(untrained), "gpt2": gpt2.eval()}


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_padding_on_the_left_changes_no_score(untrained, kind):
    tokenizer, every = models(untrained)
    model = every[kind]
    texts = [
        "The emblem of it is the",
        "It is the",
        "As its main export the people who live near the river have",
    ]
    sets = [("bear", "fox", "main export")] * 3
    together = closed_set_log_probs(model, tokenizer, texts, sets)
    alone = [closed_set_log_probs(model, tokenizer, [t], [s])[0] for t, s in zip(texts, sets, strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert one.log_p == pytest.approx(other.log_p, abs=1e-4)
    whole = log_p_per_token(model, tokenizer, texts)
    assert whole == pytest.approx([log_p_per_token(model, tokenizer, [t])[0] for t in texts], abs=1e-4)


def test_position_ids_count_from_the_first_token(untrained):
    _, every = models(untrained)
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    assert position_ids(every["gpt2"], mask)["position_ids"].tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]

    class Without(torch.nn.Module):
        def forward(self, input_ids): ...

    assert position_ids(Without(), mask) == {}
    wrapped = SimpleNamespace(module=every["gpt2"])  # as data-parallel training does
    assert position_ids(wrapped, mask)["position_ids"].tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]


def test_what_is_no_model_is_refused(tmp_path, untrained):
    with pytest.raises(ModelError, match="can be loaded"):
        load_model(tmp_path)
    with pytest.raises(ModelError, match="tokenizer"):
        load_tokenizer(tmp_path)
    # Weights as a pickle are never read.
    model = AutoModelForCausalLM.from_pretrained(untrained)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="can be loaded"):
        load_model(tmp_path)


def test_a_tokenizer_without_padding_pads_with_the_end_of_text(tmp_path, untrained):
    tokenizer = load_tokenizer(untrained)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path).pad_token == tokenizer.eos_token
