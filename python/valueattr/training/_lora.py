"""Training of a low-rank adapter (LoRA) beside frozen weights: its settings, its model, and frozen weights in bfloat16."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel, Trainer

from valueattr.training._config import TrainingConfigError


def lora_config(rank: int | None) -> Any:
    """peft's settings of an adapter of this rank on all linear layers, scaled by 2; None where whole weights are trained.

    Raises:
        TrainingConfigError: peft is not installed.
    """
    if rank is None:
        return None
    try:
        from peft import LoraConfig
    except ImportError:
        raise TrainingConfigError(f"lora_rank={rank} needs the package peft: pip install peft") from None
    return LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


@contextmanager
def adapter_on(model: PreTrainedModel, rank: int) -> Iterator[Any]:
    """The model with a new adapter, to be trained inside in bfloat16. The adapter stays in the model that was given, and on.

    Raises:
        TrainingConfigError: peft is not installed.
    """
    config = lora_config(rank)
    from peft import get_peft_model

    adapted = get_peft_model(model, config)
    with RoundedWeights(adapted).in_place(), torch.autocast(model.device.type, torch.bfloat16):
        yield adapted


def policy_of(trainer: Trainer) -> PreTrainedModel:
    """The model that is trained, as measures read it: with its adapter on, where it has one."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    policy: PreTrainedModel = model.get_base_model() if hasattr(model, "get_base_model") else model
    return policy


def merged_policy_of(trainer: Trainer) -> PreTrainedModel:
    """The trained model with its adapter in the weights; the trainer cannot go on from there."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    policy: PreTrainedModel = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
    return policy


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
