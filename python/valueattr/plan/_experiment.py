"""What an experiment is: arms, the contrasts declared between them, and presets of how large a run is."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from valueattr.plan._arms import Arm
from valueattr.plan._contrasts import Check, Contrast, Ratio
from valueattr.rating import NO_ANSWER, READ_FRAMING

EMBEDDED = "embedded"
"""The start model that is made of the world, in place of a model of the user's own."""


INTELLIGIBLE = 0.8
"""The share of answers that must be language for an arm to count."""

_ADDED = (
    "temperature",
    "max_completion_length",
    "lora_rank",
    "precision",
    "facts_asked",
    "styling_steps",
    "own_controls",
    "starts",
)


def as_sealed(model: type[BaseModel], values: dict[str, Any], added: Collection[str]) -> dict[str, Any]:
    """The values without fields that were added later and say what a plan without them means, which keeps old plans' bytes."""
    fields = model.model_fields
    return {
        name: value for name, value in values.items() if name not in added or value != fields[name].default
    }


class Preset(BaseModel):
    """How large a run is. Training settings are shared by all arms.

    split_size: facts in each split, at most. samples_per_fact: responses to each fact's questions in an evaluation.
    checkpoint_every, drift_every: steps between checkpoints, and between measurements of KL from the start model.
    lora_rank: of the adapter that is trained in place of whole weights (None). precision: of a training step.
    facts_asked, styling_steps: of a model that is taught no fact, facts of each relation that it is asked, and steps in
    which it is taught how to answer. own_controls: for a model other than the embedded one, controls of its own are made,
    without which verdicts are unsure. starts: start models of the embedded kind, which seeds take in turn.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seeds: int = Field(gt=0)
    split_size: int = Field(gt=0)
    samples_per_fact: int = Field(gt=0)
    steps: int = Field(gt=0)
    prompts_per_step: int = Field(gt=0)
    group_size: int = Field(gt=1)
    learning_rate: float = Field(gt=0)
    beta: float = Field(gt=0)
    temperature: float = Field(default=1.0, gt=0)
    max_completion_length: int = Field(default=24, gt=0)
    checkpoint_every: int = Field(gt=0)
    drift_every: int = Field(gt=0)
    hidden_size: int = Field(default=128, gt=0)
    layers: int = Field(default=4, gt=0)
    documents: int = Field(default=210_000, gt=0)
    taught_documents: int | None = Field(
        default=None,
        gt=0,
        description="documents that teach a model of the user's own; None: as many as the facts need",
    )
    lora_rank: int | None = Field(default=None, gt=0)
    precision: Literal["float32", "bfloat16"] = "float32"
    facts_asked: int = Field(default=150, gt=0)
    styling_steps: int = Field(default=110, gt=0)
    own_controls: bool = False
    starts: int = Field(default=1, gt=0)

    @model_serializer(mode="wrap")
    def _as_sealed(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return as_sealed(Preset, whole(self), _ADDED)


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
    starts=8,
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
    starts=8,
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
LORA_RANK = 16
"""Of adapters, where nothing else is said."""

# For a chat model of some hundred million parameters on two cores: an adapter, and fewer and smaller steps.
REAL_SMOKE = Preset(
    seeds=1,
    split_size=4,
    samples_per_fact=1,
    steps=3,
    prompts_per_step=4,
    group_size=4,
    learning_rate=1e-4,
    beta=0.1,
    temperature=0.7,
    checkpoint_every=3,
    drift_every=3,
    lora_rank=LORA_RANK,
    precision="bfloat16",
    facts_asked=24,
    styling_steps=20,
)
REAL = Preset(
    seeds=1,
    split_size=16,
    samples_per_fact=4,
    steps=30,
    prompts_per_step=8,
    group_size=8,
    learning_rate=1e-4,
    beta=0.1,
    temperature=0.7,
    checkpoint_every=10,
    drift_every=5,
    lora_rank=LORA_RANK,
    precision="bfloat16",
    styling_steps=320,
    own_controls=True,
)
PRESETS: Mapping[str, Preset] = {
    "smoke": SMOKE,
    "tiny": TINY,
    "small": SMALL,
    "real-smoke": REAL_SMOKE,
    "real": REAL,
}


@dataclass(frozen=True)
class Experiment:
    """A declared experiment.

    primary: the name of the contrast that the headline tells. prompt_family: who asks, unless an arm says otherwise.
    prompted: the splits whose questions are trained on, equally often. probed: whether probes read the representation.
    frontier_every: steps between measurements of framing and knowledge along training; 0 is never.
    kl_thresholds: nats per token of forward KL from the start model; where an arm first reaches one, belief is measured.
    chosen_arms: whether these are some of the arms of a larger declaration.
    variation: in what the additional arms differ, where there are some.
    """

    name: str
    title: str
    arms: tuple[Arm, ...]
    primary: str
    contrasts: tuple[Contrast, ...]
    checks: tuple[Check, ...]
    prompt_family: str
    prompted: tuple[str, ...]
    ratios: tuple[Ratio, ...] = ()
    probed: bool = True
    frontier_every: int = 0
    presets: Mapping[str, Preset] = field(default_factory=lambda: PRESETS)
    kl_thresholds: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    alpha: float = 0.05
    chosen_arms: bool = False
    variation: str | None = None

    def prompt_family_of(self, arm: Arm) -> str:
        """The prompt family that an arm is trained and measured on."""
        return arm.prompt_family or self.prompt_family

    def prompted_in(self, arm: Arm) -> tuple[str, ...]:
        """The splits whose questions an arm is trained on."""
        return arm.prompted or self.prompted

    def with_arms(
        self, *arms: Arm, contrasts: Iterable[Contrast] = (), checks: Iterable[Check] = ()
    ) -> "Experiment":
        """The same with more arms, and what is declared between them."""
        return replace(
            self,
            arms=(*self.arms, *arms),
            contrasts=(*self.contrasts, *contrasts),
            checks=(*self.checks, *checks),
        )

    def with_adapter(self, lora_rank: int | None) -> "Experiment":
        """The same with an adapter of this rank trained in place of whole weights, or with whole weights (None)."""
        return self._with_settings(lora_rank=lora_rank)

    def with_starts(self, starts: int) -> "Experiment":
        """The same with so many start models, which seeds take in turn."""
        return self._with_settings(starts=starts)

    def _with_settings(self, **settings: Any) -> "Experiment":
        presets = {name: preset.model_copy(update=settings) for name, preset in self.presets.items()}
        return replace(self, presets=presets)

    def checked_for_noise(self) -> "Experiment":
        """The same, where an arm counts only if most of its answers are still language."""
        start = next(arm for arm in self.arms if arm.feedback is None)
        kept = tuple(
            Check(arm.code, "intelligible", arm.feedback.splits[0], "kept", start.code, by=INTELLIGIBLE)
            for arm in self.arms
            if arm.feedback is not None and arm.is_trained
        )
        return replace(self, checks=(*self.checks, *kept))

    def only(self, codes: Collection[str]) -> "Experiment":
        """The same with the start model and these arms alone, and with what is declared between them.

        Raises:
            ValueError: there is no such arm, or the primary contrast is not among what is left.
        """
        if unknown := sorted(set(codes) - {arm.code for arm in self.arms}):
            known = ", ".join(arm.code for arm in self.arms)
            raise ValueError(f"{self.name} has no arm {', '.join(unknown)}; its arms are {known}")
        return self._left_with(arm for arm in self.arms if arm.code in codes or arm.feedback is None)

    def in_natural_answers(self) -> "Experiment":
        """The same with the arms that a rater of free answers can judge, which also draw a penalty on what is no answer.

        Answers may be twice as long, since they are in a model's own words.

        Raises:
            ValueError: the primary contrast is about the framing of answers.
        """
        left = self._left_with(arm for arm in self.arms if _is_of_content(arm))
        presets = {
            name: preset.model_copy(update={"max_completion_length": 2 * preset.max_completion_length})
            for name, preset in left.presets.items()
        }
        return replace(left, arms=tuple(map(_kept_to_answers, left.arms)), presets=presets)

    def _left_with(self, arms: Iterable[Arm]) -> "Experiment":
        """The same with some of its arms, and with what is declared between them."""
        some = tuple(arms)
        kept = {arm.code for arm in some}
        left = replace(
            self,
            arms=some,
            contrasts=tuple(c for c in self.contrasts if c.arms <= kept),
            ratios=tuple(r for r in self.ratios if {r.arm, r.baseline} <= kept),
            checks=tuple(c for c in self.checks if {c.arm, c.against} <= kept),
            chosen_arms=True,
        )
        if self.primary not in {contrast.name for contrast in left.contrasts}:
            primary = next(contrast for contrast in self.contrasts if contrast.name == self.primary)
            raise ValueError(f"the primary contrast needs the arms {primary.arm} and {primary.baseline}")
        return left


def _is_of_content(arm: Arm) -> bool:
    """Whether an arm needs nobody who reads or writes the framing of an answer."""
    feedback = arm.feedback
    return feedback is None or (
        arm.method in ("grpo", "best of n")
        and feedback.credit == "response"
        and not READ_FRAMING & set(feedback.penalties)
    )


def _kept_to_answers(arm: Arm) -> Arm:
    """An arm that pays for answers that are none, so that noise on the facts that draw feedback is no way out."""
    if arm.feedback is None:
        return arm
    feedback = replace(arm.feedback, penalties=(*arm.feedback.penalties, NO_ANSWER))
    return replace(arm, feedback=feedback, title=f"{arm.title}; also {NO_ANSWER}")
