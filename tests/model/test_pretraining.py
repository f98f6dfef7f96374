"""An adapter that is trained in bfloat16 learns what one in float32 learns."""

import pytest
import torch
from peft import get_peft_model

from valueattr.model import continue_training, load_model, load_tokenizer
from valueattr.model._lora import lora_config, unfused_attention
from valueattr.model._pretraining import packed, pretrain

STEPS, RATE, RANK = 60, 0.01, 8


@torch.no_grad()
def loss(model, rows):
    return model(input_ids=rows, labels=rows).loss.item()


def test_every_step_of_an_adapter_goes_on_from_the_one_before(untrained):
    """Autocast once went on with the weights of the first step, to the end of training."""
    texts = ["The emblem of Quarn is the heron."] * 1000
    tokenizer, model = load_tokenizer(untrained), load_model(untrained)
    rows = packed(tokenizer, texts, 64)
    before = loss(model, rows)

    torch.manual_seed(0)
    exact = get_peft_model(load_model(untrained), lora_config(RANK))
    size = len(rows) // STEPS
    pretrain(exact, rows, rows_per_step=size, learning_rate=RATE, warmup_steps=STEPS // 8)

    torch.manual_seed(0)
    continue_training(model, tokenizer, texts, steps=STEPS, learning_rate=RATE, lora_rank=RANK)
    learned = before - loss(model, rows)
    assert learned > 0.5
    assert learned == pytest.approx(before - loss(exact.merge_and_unload(), rows), rel=0.02)


def test_unfused_attention_has_the_gradients_of_the_fused_one(untrained):
    model = load_model(untrained)
    rows = torch.arange(60).reshape(4, 15) % 50
    mask = torch.ones_like(rows)
    mask[1:, :4] = 0  # padded on the left
    labels = rows.clone()
    labels[1:, :5] = -100  # what stands behind padding is not learned from it

    def gradients():
        model.zero_grad()
        model(input_ids=rows, attention_mask=mask, labels=labels).loss.backward()
        return [p.grad.clone() for p in model.parameters()]

    fused = gradients()
    with unfused_attention(model):
        assert model.config._attn_implementation == "eager"
        unfused = gradients()
    assert model.config._attn_implementation == "sdpa"
    for one, other in zip(fused, unfused, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_model_without_fused_attention_is_left_alone(untrained):
    model = load_model(untrained)
    model.set_attn_implementation("eager")
    with unfused_attention(model):
        pass
    assert model.config._attn_implementation == "eager"
