"""Models and tokenizers from a folder or a hub id: safetensors only, and no code of theirs is run."""

import inspect
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase


class ModelError(Exception):
    """A model that cannot be used; the message says why and what to do."""


def device() -> torch.device:
    """Where models live: on the GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_model(source: str | Path) -> PreTrainedModel:
    """A causal language model in float32, on the GPU where there is one, ready to be read.

    Raises:
        ModelError: there is none, or it holds no safetensors.
    """
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            source, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"{source} is no causal language model that can be loaded: {error}") from error
    return model.to(device()).eval()


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer, padding with the end-of-text token where it has no token for that.

    Raises:
        ModelError: there is none, it is not a fast one, or it has no end-of-text token.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelError(f"{source} has no tokenizer that can be loaded: {error}") from error
    if not tokenizer.is_fast:
        raise ModelError(
            f"{source}: the tokenizer is not a fast one, so tokens cannot be traced to characters"
        )
    if tokenizer.eos_token_id is None:
        raise ModelError(f"{source}: the tokenizer has no end-of-text token, so responses cannot end")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def accepts(model: PreTrainedModel, argument: str) -> bool:
    """Whether the model takes an argument of this name."""
    inner = getattr(model, "module", model)  # data-parallel training wraps the model
    return argument in inspect.signature(inner.forward).parameters


def position_ids(model: PreTrainedModel, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """Positions that count from each row's first token, for models that take them.

    Without them a model with absolute positions (GPT-2) reads rows that are padded on the left as if they began later.
    """
    if not accepts(model, "position_ids"):
        return {}
    return {"position_ids": (mask.long().cumsum(-1) - 1).clamp(min=0)}
