"""Training arms on TRL's trainers: the feedback channel decides which tokens carry the advantage."""

from valueattr.training._config import NotFiniteError, TrainingConfig, TrainingConfigError, checkpoint_folders
from valueattr.training._distillation import CritiqueDistillationTrainer
from valueattr.training._examples import dpo_trainer, edit_pairs, sft_trainer, well_put_answers
from valueattr.training._grpo import AttributedGRPOTrainer, grpo_config
from valueattr.training._offsets import streamed_offsets, tokens_in_spans
from valueattr.training._policy import merged_policy_of, policy_of
from valueattr.training._prompts import prompt_dataset
from valueattr.training.styling import StylingProgress, StylingRecipe, teach_styles

__all__ = [
    "AttributedGRPOTrainer",
    "CritiqueDistillationTrainer",
    "NotFiniteError",
    "StylingProgress",
    "StylingRecipe",
    "TrainingConfig",
    "TrainingConfigError",
    "checkpoint_folders",
    "dpo_trainer",
    "edit_pairs",
    "grpo_config",
    "merged_policy_of",
    "policy_of",
    "prompt_dataset",
    "sft_trainer",
    "streamed_offsets",
    "teach_styles",
    "tokens_in_spans",
    "well_put_answers",
]
