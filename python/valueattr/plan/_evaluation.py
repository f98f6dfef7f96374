"""The contrasts and checks that a plan declares, computed from the tables as the plan says."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from valueattr.plan._contrasts import Check, Contrast, Ratio
from valueattr.plan._frontier import Frontier, frontiers
from valueattr.plan._plan import Plan
from valueattr.stats import (
    Interval,
    fieller,
    holm,
    p_value,
    percentile_interval,
    resampled_means,
    t_interval,
    tost,
)


@dataclass(frozen=True)
class ContrastResult:
    """A declared difference: per seed, with its interval over seeds (None with one) and over facts, and a verdict.

    p, p_holm, p_equivalence: of the t test, adjusted within the Holm family, and of TOST; None with one seed.
    """

    declared: Contrast
    differences: Mapping[int, float]
    estimate: float
    interval: Interval | None
    bootstrap: Interval | None
    p: float | None
    p_holm: float | None
    p_equivalence: float | None
    verdict: str


@dataclass(frozen=True)
class RatioResult:
    """A declared ratio over seeds; `interval` is None where it is not defined, `reason` then says why.

    estimate: without an interval that of one seed; None where the ratio is not defined.
    """

    declared: Ratio
    estimate: float | None
    interval: Interval | None
    reason: str


@dataclass(frozen=True)
class CheckResult:
    """Whether training did what it was meant to, in every seed; `values` holds per seed the arm's and the other's mean."""

    declared: Check
    values: Mapping[int, tuple[float, float]]
    passed: bool


@dataclass(frozen=True)
class Evaluation:
    """All contrasts, ratios and checks of a plan, in its order."""

    contrasts: list[ContrastResult]
    ratios: list[RatioResult]
    checks: list[CheckResult]

    def contrast(self, name: str) -> ContrastResult:
        """The contrast of this name.

        Raises:
            KeyError: the plan declares none.
        """
        for result in self.contrasts:
            if result.declared.name == name:
                return result
        raise KeyError(name)


def evaluate(plan: Plan, measures: pd.DataFrame, steps: pd.DataFrame) -> Evaluation:
    """Evaluate a plan on a run's `measures` and `steps` tables.

    Holm's adjustment counts every contrast that was declared in a Holm family: one that could not be tested stands in
    with p = 1, so that what went missing never makes the others look better.
    """
    items = _Items.of(plan, measures, steps)
    checks = [_check(check, items) for check in plan.checks]
    failed = {check.declared.arm for check in checks if not check.passed}
    results = [_contrast(contrast, items) for contrast in plan.contrasts]
    for holm_family in dict.fromkeys(contrast.holm_family for contrast in plan.contrasts):
        own = [i for i, result in enumerate(results) if result.declared.holm_family == holm_family]
        p_values = [1.0 if (p := results[i].p) is None else p for i in own]
        for i, adjusted in zip(own, holm(p_values), strict=True):
            if results[i].p is not None:
                results[i] = replace(results[i], p_holm=adjusted)
    return Evaluation(
        [_judged(result, failed, plan.alpha) for result in results],
        [_ratio(ratio, items) for ratio in plan.ratios],
        checks,
    )


@dataclass(frozen=True)
class _Items:
    """The plan's measures, one mean per fact; where each arm ended; where it crossed each threshold of forward KL."""

    means: "pd.Series[float]"  # by measure, arm, seed, step, split and fact
    last: Mapping[tuple[str, int], int]
    crossings: Mapping[tuple[str, int], Mapping[float, int]]
    frontiers: Callable[[str, str], Mapping[tuple[str, int], Frontier]]  # by split and measure of knowledge

    @classmethod
    def of(cls, plan: Plan, measures: pd.DataFrame, steps: pd.DataFrame) -> "_Items":
        wanted = {contrast.measure for contrast in plan.contrasts} | {check.measure for check in plan.checks}
        wanted |= {measure for r in plan.ratios for measure, _ in (r.numerator, r.denominator)}
        rows = measures[measures["measure"].isin(wanted)]
        last = measures.groupby(["arm", "seed"], observed=True)["step"].max()
        names = steps["name"].astype(str)
        checkpoints = steps[names.str.startswith(_CHECKPOINT)]
        thresholds = names[checkpoints.index].str.removeprefix(_CHECKPOINT).astype(float)
        crossings: dict[tuple[str, int], dict[float, int]] = {}
        for arm, seed, step, threshold in zip(
            checkpoints["arm"], checkpoints["seed"], checkpoints["step"], thresholds, strict=True
        ):
            crossings.setdefault((str(arm), int(seed)), {})[float(threshold)] = int(step)
        return cls(
            rows.groupby([*_SPLIT_KEYS, "fact"], observed=True, dropna=False)["value"].mean().dropna(),
            {
                (str(arm), int(seed)): int(step)
                for arm, seed, step in last.reset_index().itertuples(index=False, name=None)
            },
            crossings,
            lru_cache(lambda split, measure: frontiers(plan, measures, split, measure)),
        )

    def seeds(self, arm: str, other: str) -> list[int]:
        """The seeds in which both arms were measured."""
        return sorted(seed for a, seed in self.last if a == arm and (other, seed) in self.last)

    def at(self, measure: str, arm: str, seed: int, step: int, split: str) -> "pd.Series[float]":
        """Means by fact, empty if not measured; what belongs to no fact (an AUROC) is one item, named NaN."""
        key = (measure, arm, seed, step, split)
        if key not in self.means.index:
            return self.means.iloc[:0].droplevel([*_SPLIT_KEYS])
        return cast("pd.Series[float]", self.means.loc[key])

    def steps_to_compare(self, at: str, arm: str, baseline: str, seed: int) -> tuple[int, int] | None:
        """The step of each arm; None where no threshold of forward KL was reached by both."""
        if at == "equal-steps":
            return self.last[arm, seed], self.last[baseline, seed]
        a, b = (self.crossings.get((code, seed), {}) for code in (arm, baseline))
        shared = a.keys() & b.keys()
        return (a[max(shared)], b[max(shared)]) if shared else None


_SPLIT_KEYS = ["measure", "arm", "seed", "step", "split"]
_CHECKPOINT = "checkpoint/kl_"
_DRAWS = 2000


def _contrast(contrast: Contrast, items: _Items) -> ContrastResult:
    if contrast.at == "equal-framing":
        pairs: dict[int, list[NDArray[np.floating[Any]]]] = {}
        differences = _at_equal_framing(contrast, items)
    else:
        pairs = _per_fact(contrast, items)
        differences = {
            seed: float(of_splits[0].mean() - sum(minus.mean() for minus in of_splits[1:]))
            for seed, of_splits in pairs.items()
        }
    values = list(differences.values())
    many = len(values) >= 2
    return ContrastResult(
        contrast,
        differences=differences,
        estimate=float(np.mean(values)) if values else math.nan,
        interval=t_interval(values) if many else None,
        bootstrap=bootstrap_over_facts(list(pairs.values())),
        p=p_value(values, contrast.alternative) if many else None,
        p_holm=None,
        p_equivalence=None,
        verdict="",
    )


def _per_fact(contrast: Contrast, items: _Items) -> dict[int, list[NDArray[np.floating[Any]]]]:
    """By seed: per split, a difference per fact."""
    arm, baseline, measure = contrast.arm, contrast.baseline, contrast.measure
    splits = [split for split in (contrast.split, contrast.minus_split) if split is not None]
    pairs = {}
    for seed in items.seeds(arm, baseline):
        at = items.steps_to_compare(contrast.at, arm, baseline, seed)
        if at is None:
            continue
        of_splits = [
            (items.at(measure, arm, seed, at[0], split) - items.at(measure, baseline, seed, at[1], split))
            .dropna()
            .to_numpy()
            for split in splits
        ]
        if all(map(len, of_splits)):
            pairs[seed] = of_splits
    return pairs


def _at_equal_framing(contrast: Contrast, items: _Items) -> dict[int, float]:
    """By seed: the difference at the best framing that both arms reached."""
    every = items.frontiers(contrast.split, contrast.measure)
    differences = {}
    for seed in items.seeds(contrast.arm, contrast.baseline):
        pair = [every.get((code, seed)) for code in (contrast.arm, contrast.baseline)]
        if pair[0] is not None and pair[1] is not None:
            framing = min(pair[0].best, pair[1].best)
            differences[seed] = pair[0].knowledge_at(framing) - pair[1].knowledge_at(framing)
    return differences


def _ratio(ratio: Ratio, items: _Items) -> RatioResult:
    arm, baseline = ratio.arm, ratio.baseline
    parts: list[list[float]] = [[], []]
    for seed in items.seeds(arm, baseline):
        changes = [
            (
                items.at(measure, arm, seed, items.last[arm, seed], split)
                - items.at(measure, baseline, seed, items.last[baseline, seed], split)
            ).mean()
            for measure, split in (ratio.numerator, ratio.denominator)
        ]
        if not any(map(math.isnan, changes)):
            parts[0].append(ratio.sign * changes[0])
            parts[1].append(changes[1])
    if not parts[0]:
        return RatioResult(ratio, None, interval=None, reason="not measured")
    if len(parts[0]) == 1:
        estimate = parts[0][0] / parts[1][0] if parts[1][0] else None
        return RatioResult(ratio, estimate, interval=None, reason="one seed carries no interval")
    interval = fieller(parts[0], parts[1])
    if interval is None:
        reason = "not defined: the interval of the denominator includes 0"
        return RatioResult(ratio, None, interval=None, reason=reason)
    return RatioResult(ratio, interval.estimate, interval=interval, reason="")


def bootstrap_over_facts(pairs: Sequence[Sequence[NDArray[np.floating[Any]]]]) -> Interval | None:
    """Over the facts of each seed and split, the seeds being given; None where a split has but one fact."""
    if not pairs or any(len(x) < 2 for of_splits in pairs for x in of_splits):
        return None
    rng = np.random.default_rng(0)
    estimate, resampled, n = 0.0, np.zeros(_DRAWS), 0
    for of_splits in pairs:
        for sign, x in zip((1, -1), of_splits, strict=False):
            estimate += sign * float(x.mean()) / len(pairs)
            resampled += sign * resampled_means(x, _DRAWS, rng) / len(pairs)
            n += len(x)
    return percentile_interval(estimate, resampled, n, "bootstrap over facts, given the seeds")


def _check(check: Check, items: _Items) -> CheckResult:
    seeds = items.seeds(check.arm, check.against)
    values: dict[int, tuple[float, float]] = {}
    for seed in seeds:
        a, b = (
            items.at(check.measure, code, seed, items.last[code, seed], check.split)
            for code in (check.arm, check.against)
        )
        if len(a) and len(b):
            values[seed] = float(a.mean()), float(b.mean())
    held = [_holds(check, value, other) for value, other in values.values()]
    return CheckResult(check, values=values, passed=0 < len(seeds) == len(values) and all(held))


def _holds(check: Check, value: float, other: float) -> bool:
    if check.rule == "rises":
        return value - other >= check.by
    if check.rule == "kept":
        return value >= check.by
    return other > 0 and value <= other / 2  # nothing cannot be halved


def _judged(result: ContrastResult, failed: set[str], alpha: float) -> ContrastResult:
    """The result with its equivalence test and its verdict in words."""
    if not result.differences:
        return replace(result, verdict="not measured")
    values = list(result.differences.values())
    smallest = result.declared.smallest_effect
    p_equivalence = tost(values, smallest, alpha).p if len(values) >= 2 else None
    result = replace(result, p_equivalence=p_equivalence)
    if broken := [arm for arm in (result.declared.arm, result.declared.baseline) if arm in failed]:
        return replace(result, verdict=f"no verdict: the manipulation check of {' and '.join(broken)} failed")
    if p_equivalence is None or result.p_holm is None:
        return replace(result, verdict="one seed: no verdict")
    if result.p_holm < alpha:
        return replace(result, verdict="lower" if result.estimate < 0 else "higher")
    if p_equivalence < alpha:
        return replace(result, verdict=f"equivalent within ±{smallest:g}")
    return replace(result, verdict="not shown")
