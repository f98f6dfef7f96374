"""The model that a trainer trains, with or without an adapter."""

from transformers import PreTrainedModel, Trainer


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
