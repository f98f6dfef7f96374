"""What an experiment is: arms that differ in the feedback channel alone, and the contrasts declared between them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from valueattr.rating import Feedback

EMBEDDED = "embedded"
"""The start model that is made of the world, in place of a model of the user's own."""

Method = Literal["grpo", "critique", "other critique", "edit pairs", "well-put answers", "best of n"]


@dataclass(frozen=True)
class Arm:
    """One training condition; without feedback it is the start model, measured and not trained.

    method: how the feedback reaches the model. "grpo": as advantages. "critique", "other critique": by distillation from
    the start model after it has read a critique, of this response or of another. "edit pairs": DPO. "well-put answers":
    SFT. "best of n": the start model, of whose responses the rater chooses.
    family, prompted: the prompt family and the pools that are asked, where they are not the experiment's.
    """

    code: str
    title: str
    feedback: Feedback | None
    method: Method = "grpo"
    family: str | None = None
    prompted: tuple[str, ...] | None = None

    @property
    def is_trained(self) -> bool:
        """Whether its weights change."""
        return self.feedback is not None and self.method != "best of n"


@dataclass(frozen=True)
class Contrast:
    """A difference that was declared before the run: `measure` of `arm` minus that of `baseline` on a split.

    minus_split: subtract the same difference on this split (specificity).
    at: "equal-steps" compares at the end, "equal-kl" at the largest forward-KL threshold that both arms reached,
    "equal-framing" at the best framing that both reached.
    unit, smallest_effect: of the measure; what is smaller counts as none.
    family: Holm's adjustment is made within it.
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
    unit: str = "nats"
    smallest_effect: float = 0.5
    family: str = "main"


@dataclass(frozen=True)
class Ratio:
    """A declared ratio of two differences from a baseline, paired by seed: `numerator` and `denominator` are
    (measure, split). `sign` -1 makes a loss positive. Printed with a Fieller interval, or as "not defined".
    """

    name: str
    title: str
    arm: str
    baseline: str
    numerator: tuple[str, str]
    denominator: tuple[str, str]
    sign: int = 1


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
    split_size: int = Field(gt=0)
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
    documents: int = Field(default=210_000, gt=0)
    taught_documents: int | None = Field(
        default=None,
        gt=0,
        description="of text that teaches a model of one's own; None: as many as the facts need",
    )


SMOKE = Preset(
    seeds=1,
    split_size=8,
    samples_per_fact=1,
    steps=4,
    prompts_per_step=4,
    group_size=4,
    learning_rate=1e-4,
    beta=0.02,
    checkpoint_every=2,
    drift_every=2,
    taught_documents=12_000,
)
TINY = Preset(
    seeds=3,
    split_size=32,
    samples_per_fact=2,
    steps=40,
    prompts_per_step=16,
    group_size=8,
    learning_rate=1e-4,
    beta=0.02,
    checkpoint_every=20,
    drift_every=4,
)
SMALL = Preset(
    seeds=3,
    split_size=72,
    samples_per_fact=4,
    steps=100,
    prompts_per_step=32,
    group_size=16,
    learning_rate=1e-4,
    beta=0.02,
    checkpoint_every=25,
    drift_every=5,
    hidden_size=256,
    layers=6,
    documents=400_000,
)
PRESETS: Mapping[str, Preset] = {"smoke": SMOKE, "tiny": TINY, "small": SMALL}


@dataclass(frozen=True)
class Experiment:
    """A declared experiment.

    prompted: the pools whose questions are trained on, equally often. probed: whether probes read the representation.
    frontier_every: steps between measurements of framing and knowledge along training; 0 is never.
    """

    name: str
    title: str
    arms: tuple[Arm, ...]
    primary: str
    family: tuple[Contrast, ...]
    checks: tuple[ManipulationCheck, ...]
    prompt_family: str
    prompted: tuple[str, ...]
    ratios: tuple[Ratio, ...] = ()
    probed: bool = True
    frontier_every: int = 0
    presets: Mapping[str, Preset] = field(default_factory=lambda: PRESETS)
    kl_thresholds: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    alpha: float = 0.05

    def prompt_family_of(self, arm: Arm) -> str:
        """The prompt family that an arm is trained and measured on."""
        return arm.family or self.prompt_family

    def prompted_in(self, arm: Arm) -> tuple[str, ...]:
        """The pools whose questions an arm is trained on."""
        return arm.prompted or self.prompted

    def with_arms(self, *arms: Arm) -> "Experiment":
        """The same with more arms."""
        return replace(self, arms=(*self.arms, *arms))

    def plan(
        self, preset: str, world_hash: str, model: str = EMBEDDED, statements_hash: str | None = None
    ) -> dict[str, Any]:
        """What is sealed before the first step. Seeds are not part of it: they can be added to a run."""
        return {
            "experiment": self.name,
            "title": self.title,
            "preset": preset,
            "world": world_hash,
            "model": model,
            "statements": statements_hash,
            "settings": self.presets[preset].model_dump(),
            "order": [arm.code for arm in self.arms],
            "arms": {arm.code: arm.title for arm in self.arms},
            "feedback": {arm.code: asdict(arm.feedback) if arm.feedback else None for arm in self.arms},
            "methods": {arm.code: arm.method for arm in self.arms},
            "families": {arm.code: self.prompt_family_of(arm) for arm in self.arms},
            "prompted": {arm.code: list(self.prompted_in(arm)) for arm in self.arms},
            "probed": self.probed,
            "frontier_every": self.frontier_every,
            "kl_thresholds": list(self.kl_thresholds),
            "primary": self.primary,
            "family": [asdict(contrast) for contrast in self.family],
            "ratios": [asdict(ratio) for ratio in self.ratios],
            "manipulation_checks": [asdict(check) for check in self.checks],
            "alpha": self.alpha,
            "decision_rule": (
                "A contrast is shown if its Holm-adjusted p over its family is below alpha (t test on seed-level "
                "paired differences), equivalent if TOST against its smallest effect is below alpha, else not shown. "
                "No verdict where the manipulation check of an arm failed in any seed, or with one seed."
            ),
        }
