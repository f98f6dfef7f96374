"""Training arms on TRL's trainers: the feedback channel decides which tokens carry the advantage."""

from valueattr.training._config import TrainingConfig, TrainingConfigError, checkpoint_folders
from valueattr.training._grpo import AttributedGRPOTrainer, grpo_config
from valueattr.training._offsets import streamed_offsets, tokens_in_spans
from valueattr.training._prompts import RunPrompt, prompt_dataset

__all__ = [
    "AttributedGRPOTrainer",
    "RunPrompt",
    "TrainingConfig",
    "TrainingConfigError",
    "checkpoint_folders",
    "grpo_config",
    "prompt_dataset",
    "streamed_offsets",
    "tokens_in_spans",
]
