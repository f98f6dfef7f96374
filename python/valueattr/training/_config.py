"""The one training configuration that all arms of a run share."""

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field


class TrainingConfigError(ValueError):
    """A setting under which advantages would not stay with their tokens."""


class NotFiniteError(ArithmeticError):
    """A loss or advantage that is no number; the message says at which step, and what to do."""


class TrainingConfig(BaseModel):
    """GRPO settings that are equal in every arm; the strength is chosen once, on a pilot seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(gt=0)
    prompts_per_step: int = Field(gt=0)
    group_size: int = Field(gt=1)
    learning_rate: float = Field(gt=0)
    beta: float = Field(
        gt=0, description="weight of the KL penalty to the start model; above 0 so that it is logged"
    )
    temperature: float = Field(default=1.0, gt=0)
    max_completion_length: int = Field(default=24, gt=0)
    checkpoint_every: int = Field(default=25, gt=0)
    drift_every: int = Field(default=5, gt=0)
    lora_rank: int | None = Field(
        default=None, gt=0, description="rank of the adapter that is trained; None: whole weights are"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="of the arithmetic of a training step; measures are read in float32"
    )


def shared_settings(
    folder: Path, *, steps: int, rows: int, learning_rate: float, precision: str, seed: int
) -> dict[str, Any]:
    """What TRL's trainers are told alike: rows of a step in one batch, a step a log line, and nothing printed or reported."""
    return {
        "output_dir": str(folder),
        "max_steps": steps,
        "per_device_train_batch_size": rows,
        "learning_rate": learning_rate,
        "seed": seed,
        "data_seed": seed,
        "logging_steps": 1,
        "gradient_checkpointing": False,
        "bf16": precision == "bfloat16",
        "use_cpu": not torch.cuda.is_available(),
        "disable_tqdm": True,
        "report_to": "none",
        "dataloader_pin_memory": False,
    }


# Settings of TRL's GRPOConfig under which a token's advantage would reach other tokens or be dropped.
_TOKEN_LOSSES = ("bnpo", "cispo", "dapo", "dr_grpo", "grpo")
_REQUIRED: dict[str, Any] = {
    "importance_sampling_level": "token",
    "top_entropy_quantile": 1.0,
    "off_policy_mask_threshold": None,
    "mask_truncated_completions": False,
    "use_liger_kernel": False,
}


def require_token_level(args: Any) -> None:
    """Refuse settings that turn token advantages into sequence ones.

    Raises:
        TrainingConfigError: names the setting, what it is and what it must be.
    """
    if args.loss_type not in _TOKEN_LOSSES:
        raise TrainingConfigError(
            f"loss_type={args.loss_type!r} is not a token-level loss; use one of {', '.join(_TOKEN_LOSSES)}"
        )
    for name, required in _REQUIRED.items():
        if (found := getattr(args, name, required)) != required:
            raise TrainingConfigError(
                f"{name}={found!r} moves or drops token advantages; it must be {required!r}"
            )
    if not args.beta > 0:
        raise TrainingConfigError(
            f"beta={args.beta!r}: without a KL penalty TRL loads no reference and logs no KL"
        )


def checkpoint_folders(folder: Path) -> list[Path]:
    """Trainer checkpoints in a folder, latest first."""
    return sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]), reverse=True)
