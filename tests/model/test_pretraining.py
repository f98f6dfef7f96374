"""An adapter that is trained in bfloat16 learns what one in float32 learns."""

import pytest
import torch
from peft import get_peft_model

from valueattr.model import continue_training, load_model, load_tokenizer
from valueattr.model._lora import lora_config
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
