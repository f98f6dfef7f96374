"""Small untrained models of several families, the texts that they are captured on, and how stores are compared."""

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    Qwen2Config,
)

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


def assert_equal(one, other):
    assert one.index() == other.index()
    for layer in one.layers:
        np.testing.assert_array_equal(one.read(layer), other.read(layer))
    one.verify()
