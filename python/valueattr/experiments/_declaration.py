"""What an experiment is: arms that differ in the feedback channel alone, and the contrasts declared between them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from valueattr.rating import Feedback


@dataclass(frozen=True)
class Arm:
    """One training condition; without feedback it is the start model, measured and not trained."""

    code: str
    title: str
    feedback: Feedback | None


@dataclass(frozen=True)
class Contrast:
    """A difference that was declared before the run: `measure` of `arm` minus that of `baseline` on a split.

    minus_split: subtract the same difference on this split (specificity).
    at: "equal-steps" compares at the end, "equal-kl" at the largest forward-KL threshold that both arms reached.
    """

    name: str
    title: str
    measure: str
    arm: str
    baseline: str
    split: str
    minus_split: str | None = None
    at: str = "equal-steps"
    alternative: str = "two-sided"


@dataclass(frozen=True)
class ManipulationCheck:
    """Whether training changed what it was meant to: without that an arm's outcomes say nothing.

    rule: "halved" (the measure is at most half of that in `against`, which is not 0) or "rises" (by at least `by`).
    """

    arm: str
    measure: str
    split: str
    rule: str
    against: str
    by: float = 0.0


class Preset(BaseModel):
    """How large a run is. Training settings are shared by all arms."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seeds: int = Field(gt=0)
    pool_size: int = Field(gt=0)
    samples_per_fact: int = Field(gt=0)
    steps: int = Field(gt=0)
    prompts_per_step: int = Field(gt=0)
    group_size: int = Field(gt=1)
    learning_rate: float = Field(gt=0)
    beta: float = Field(gt=0)
    checkpoint_every: int = Field(gt=0)
    drift_every: int = Field(gt=0)
    hidden_size: int = Field(default=128, gt=0)
    layers: int = Field(default=4, gt=0)
    documents: int = Field(default=165_000, gt=0)


@dataclass(frozen=True)
class Experiment:
    """A declared experiment."""

    name: str
    title: str
    arms: tuple[Arm, ...]
    primary: str
    family: tuple[Contrast, ...]
    checks: tuple[ManipulationCheck, ...]
    smallest_effect: float
    prompt_family: str
    presets: Mapping[str, Preset]
    kl_thresholds: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    alpha: float = 0.05

    def plan(self, preset: str, world_hash: str) -> dict[str, Any]:
        """What is sealed before the first step. Seeds are not part of it: they can be added to a run."""
        return {
            "experiment": self.name,
            "title": self.title,
            "preset": preset,
            "world": world_hash,
            "settings": self.presets[preset].model_dump(),
            "arms": {arm.code: arm.title for arm in self.arms},
            "feedback": {arm.code: asdict(arm.feedback) if arm.feedback else None for arm in self.arms},
            "prompt_family": self.prompt_family,
            "kl_thresholds": list(self.kl_thresholds),
            "primary": self.primary,
            "family": [asdict(contrast) for contrast in self.family],
            "manipulation_checks": [asdict(check) for check in self.checks],
            "alpha": self.alpha,
            "smallest_effect": self.smallest_effect,
            "decision_rule": (
                "A contrast is shown if its Holm-adjusted p over the family is below alpha (t test on seed-level "
                "paired differences), equivalent if TOST against the smallest effect is below alpha, else not shown. "
                "No verdict where the manipulation check of an arm failed in any seed, or with one seed."
            ),
        }
