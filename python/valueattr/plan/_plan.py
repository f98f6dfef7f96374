"""The plan of a run: what is sealed before its first step, and read again by everything that follows."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from valueattr.plan._arms import Arm
from valueattr.plan._contrasts import Check, Contrast, Ratio
from valueattr.plan._experiment import EMBEDDED, Experiment, Preset, as_sealed
from valueattr.results import RunDirectory, RunDirectoryError

PLAN_VERSION: Final = 3

SEEDS_FOR_A_CLAIM: Final = 8
STARTS_FOR_A_CLAIM: Final = 4
"""From so many seeds on, and so many start models where they take turns, a verdict is a claim and no demonstration."""

Answers = Literal["taught", "styled", "natural"]
"""How a model answers: as the embedded text does, which it is taught with the facts or alone, or in its own words."""

_SHOWN = 3
"""Problems of a plan that an error tells."""

Rule = Literal["gatekeeper", "holm"]
"""How p values become verdicts. "holm" was the rule of plans up to version 2."""

DECISION_RULE = (
    "The unit is the seed or, where seeds share a start model, the start model. The primary difference is tested alone "
    "at alpha (t test on paired differences, one for each unit). Other differences are claimed only if it is shown, and "
    "if their p, Holm-adjusted over their family, is below alpha. A contrast is equivalent if TOST against its smallest "
    "effect is below alpha, Holm-adjusted over the equivalence tests of its family. Else it is not shown. Every verdict "
    f"is a demonstration with fewer than {SEEDS_FOR_A_CLAIM} seeds, or with fewer than {STARTS_FOR_A_CLAIM} start models "
    "that take turns. There is no verdict with one seed, where the manipulation check of an arm failed in any seed, where "
    "an arm did not reach the point of comparison in some seed, or where all units gave the same difference."
)


class PlanError(RunDirectoryError):
    """A plan that cannot be read; the message names the field, what was expected and what was found."""


class Plan(BaseModel):
    """What is sealed before the first step. Seeds are not part of it: they can be added to a run.

    world, statements: SHA-256 of the facts, and of the user's statements if there are any. model: "embedded", or what the
    user named as their own. answers: how that answers. settings: of the preset.
    arms: in order, with nothing left to defaults. The other fields are those of `Experiment`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[3] = PLAN_VERSION
    experiment: str
    title: str
    preset: str
    world: str
    model: str
    answers: Answers = "taught"
    statements: str | None
    settings: Preset
    arms: tuple[Arm, ...]
    probed: bool
    frontier_every: int
    kl_thresholds: tuple[float, ...]
    primary: str
    contrasts: tuple[Contrast, ...]
    ratios: tuple[Ratio, ...]
    checks: tuple[Check, ...]
    alpha: float
    decision_rule: str
    rule: Rule = "gatekeeper"
    chosen_arms: bool = False
    variation: str | None = None

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        preset: str,
        world_hash: str,
        model: str = EMBEDDED,
        answers: Answers = "taught",
        statements_hash: str | None = None,
    ) -> "Plan":
        """The plan of an experiment under one of its presets.

        Raises:
            KeyError: the experiment has no such preset.
        """
        return cls(
            experiment=experiment.name,
            title=experiment.title,
            preset=preset,
            world=world_hash,
            model=model,
            answers=answers,
            statements=statements_hash,
            settings=experiment.presets[preset],
            arms=tuple(
                replace(
                    arm,
                    prompt_family=experiment.prompt_family_of(arm),
                    prompted=experiment.prompted_in(arm),
                )
                for arm in experiment.arms
            ),
            probed=experiment.probed,
            frontier_every=experiment.frontier_every,
            kl_thresholds=experiment.kl_thresholds,
            primary=experiment.primary,
            chosen_arms=experiment.chosen_arms,
            variation=experiment.variation,
            contrasts=experiment.contrasts,
            ratios=experiment.ratios,
            checks=experiment.checks,
            alpha=experiment.alpha,
            decision_rule=DECISION_RULE,
        )

    @classmethod
    def read(cls, run: RunDirectory) -> "Plan":
        """The plan that was sealed in a run directory.

        Raises:
            PlanError: as `from_json`; the message begins with the file.
        """
        try:
            return cls.from_json(run.plan)
        except PlanError as error:
            raise PlanError(f"{run.path / 'plan.json'}: {error}") from None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Plan":
        """A plan of this version or an earlier one, from its JSON values.

        Raises:
            PlanError: the version is later than this one, or a field is missing, unknown or of the wrong type.
        """
        if not isinstance(values, Mapping):
            raise PlanError(f"expected an object, found {type(values).__name__}")
        version = plan_version(values)
        if version > PLAN_VERSION:
            raise PlanError(
                f"the plan is of version {version}, and this valueattr reads plans up to version {PLAN_VERSION}: "
                "update valueattr to read the run"
            )
        try:
            older = {1: _from_version_1, 2: _from_version_2}
            return cls.model_validate(older[version](values) if version in older else values)
        except KeyError as error:
            raise PlanError(f"the plan lacks {error}") from None
        except (AttributeError, TypeError) as error:  # of version 1, which was read by hand
            raise PlanError(f"the plan is no plan of version 1 ({error})") from None
        except ValidationError as error:
            problems = [_described(problem) for problem in error.errors()]
            more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
            raise PlanError("; ".join(problems[:_SHOWN]) + more) from None

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values: what is sealed, and what `from_json` reads."""
        return self.model_dump(mode="json")

    def arm(self, code: str) -> Arm:
        """The arm with this code.

        Raises:
            KeyError: the plan has none.
        """
        for arm in self.arms:
            if arm.code == code:
                return arm
        raise KeyError(code)

    @model_serializer(mode="wrap")
    def _as_sealed(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return as_sealed(Plan, whole(self), ("answers", "variation"))

    @property
    def start(self) -> Arm | None:
        """The start model as an arm, asked by the experiment's own prompt family."""
        return next((arm for arm in self.arms if arm.feedback is None), None)

    @model_validator(mode="after")
    def _names_what_it_holds(self) -> "Plan":
        codes = [arm.code for arm in self.arms]
        if repeated := sorted({code for code in codes if codes.count(code) > 1}):
            raise ValueError(f"arms with the same code: {', '.join(repeated)}")
        for arm in self.arms:
            if arm.prompt_family is None or arm.prompted is None:
                raise ValueError(f"arm {arm.code} lacks its prompt family or the splits it is trained on")
        named = [code for contrast in self.contrasts for code in contrast.arms]
        named += [code for ratio in self.ratios for code in (ratio.arm, ratio.baseline)]
        named += [code for check in self.checks for code in (check.arm, check.against)]
        if unknown := sorted(set(named) - set(codes)):
            raise ValueError(f"compares arms that it does not declare: {', '.join(unknown)}")
        if self.primary not in {contrast.name for contrast in self.contrasts}:
            raise ValueError(f"the primary contrast {self.primary!r} is not declared")
        return self


def plan_version(values: Mapping[str, Any]) -> int:
    """The version of a plan's JSON values, 1 where they do not say.

    Raises:
        PlanError: the version is no number from 1 on.
    """
    version = values.get("version", 1)
    if type(version) is not int or version < 1:
        raise PlanError(f"version: expected a whole number from 1 on, found {version!r}")
    return version


_KEPT_SINCE_1 = (
    "experiment",
    "title",
    "preset",
    "world",
    "model",
    "statements",
    "probed",
    "frontier_every",
    "kl_thresholds",
    "primary",
    "ratios",
    "alpha",
    "decision_rule",
)


def _from_version_1(values: Mapping[str, Any]) -> dict[str, Any]:
    """Version 1 had a mapping by code for each property of an arm, and other names for splits and families."""
    return {
        **{key: values[key] for key in _KEPT_SINCE_1},
        "rule": "holm",
        "settings": _renamed(values["settings"], "pool_size", "split_size"),
        "arms": [
            {
                "code": code,
                "title": values["arms"][code],
                "feedback": _renamed(values["feedback"][code], "pools", "splits"),
                "method": values["methods"][code],
                "prompt_family": values["families"][code],
                "prompted": values["prompted"][code],
            }
            for code in values["order"]
        ],
        "contrasts": [_renamed(contrast, "family", "holm_family") for contrast in values["family"]],
        "checks": values["manipulation_checks"],
    }


def _from_version_2(values: Mapping[str, Any]) -> dict[str, Any]:
    """Version 2 had one rule, which it did not name."""
    return {**values, "version": PLAN_VERSION, "rule": "holm"}


def _renamed(values: Mapping[str, Any] | None, old: str, new: str) -> dict[str, Any] | None:
    return None if values is None else {new if key == old else key: value for key, value in values.items()}


def _described(problem: Mapping[str, Any]) -> str:
    """One of pydantic's errors in a line: where, what was expected, what was found."""
    where = ".".join(map(str, problem["loc"]))
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] in ("missing", "value_error"):
        return f"{where}: {message}" if where else message
    found = repr(problem["input"])
    return f"{where}: {message}, found {found if len(found) <= 200 else f'{found[:200]}...'}"
