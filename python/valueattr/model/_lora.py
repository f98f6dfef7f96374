"""Training of a low-rank adapter (LoRA) beside frozen weights: its settings, and frozen weights in bfloat16."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel

from valueattr.model._errors import ModelError

_RANK = 16
_SMALL = 20_000_000


def lora_config(rank: int | None) -> Any:
    """peft's settings of an adapter of this rank on all linear layers, scaled by 2; None where whole weights are trained.

    Raises:
        ModelError: peft is not installed.
    """
    if rank is None:
        return None
    try:
        from peft import LoraConfig
    except ImportError:
        raise ModelError(f"lora_rank={rank} needs the package peft: pip install peft") from None
    return LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def adapter_rank_for(model: PreTrainedModel) -> int | None:
    """The rank of an adapter for a model of 20 million parameters or more; None for smaller ones, whose weights train fast."""
    return None if model.num_parameters() < _SMALL else _RANK


@contextmanager
def trainable(model: PreTrainedModel, rank: int | None) -> Iterator[Any]:
    """What to train inside: the model itself, or with a rank the model with a new adapter, in bfloat16.

    Afterwards the adapter is in the weights of the model that was given.

    Raises:
        ModelError: peft is not installed.
    """
    if rank is None:
        yield model
        return
    config = lora_config(rank)
    from peft import get_peft_model

    adapted = get_peft_model(model, config)
    # Autocast keeps its rounded copies of weights until it ends, and would go on with those of the first step.
    autocast = torch.autocast(model.device.type, torch.bfloat16, cache_enabled=False)
    with RoundedWeights(adapted).in_place(), unfused_attention(model), autocast:
        yield adapted
    adapted.merge_and_unload().requires_grad_(True)  # peft froze them


@contextmanager
def unfused_attention(model: PreTrainedModel) -> Iterator[None]:
    """Attention in plain operations inside, for training on short texts on a CPU.

    There the backward pass of the fused one takes a quarter of a step in bfloat16. Plain operations keep a number for each
    pair of tokens, so that they are no choice for long texts.
    """
    before = model.config._attn_implementation
    if model.device.type != "cpu" or before != "sdpa":
        yield
        return
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


class RoundedWeights:
    """The frozen weights of a model in bfloat16, made once and put in place for the length of a step.

    Autocast rounds a frozen weight at every use, and peft keeps a float32 copy of every input of the adapter; neither
    happens inside. Outside the weights are those that were loaded, for whoever measures.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        frozen = [p for p in model.parameters() if not p.requires_grad and p.dtype == torch.float32]
        self._pairs = [(p, p.data, p.data.bfloat16()) for p in frozen]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The rounded weights in the model, and then those that were loaded."""
        from peft.helpers import disable_input_dtype_casting

        for parameter, _, rounded in self._pairs:
            parameter.data = rounded
        try:
            with disable_input_dtype_casting(self._model):
                yield
        finally:
            for parameter, loaded, _ in self._pairs:
                parameter.data = loaded
