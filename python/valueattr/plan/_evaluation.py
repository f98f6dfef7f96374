"""The contrasts and checks that a plan declares, computed from the tables as the plan says."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar, cast

import numpy as np
import pandas as pd

from valueattr.plan._contrasts import Check, Contrast, Ratio
from valueattr.plan._frontier import Frontier, frontiers
from valueattr.plan._plan import SEEDS_FOR_A_CLAIM, STARTS_FOR_A_CLAIM, Plan
from valueattr.results import start_of_seed
from valueattr.stats import (
    Interval,
    fieller,
    holm,
    p_value,
    percentile_interval,
    t_interval,
    tost,
    variance_share,
)

_Name = TypeVar("_Name")


@dataclass(frozen=True)
class ContrastResult:
    """A declared difference: per seed, with its interval over seeds (None with one) and over subjects, and a verdict.

    Where several seeds share a start model, the `units` of all tests are the means of start models, and `share_of_starts`
    is the share of variance that lies between these; None where no two seeds share one. missing: seeds in which both arms
    were measured, and not where they are compared.
    p, p_holm, p_equivalence: of the t test, as the plan's rule adjusts it, and of TOST as the rule adjusts it; None with
    one seed, and where all seeds gave the same difference.
    """

    declared: Contrast
    differences: Mapping[int, float]
    estimate: float
    interval: Interval | None
    bootstrap: Interval | None
    units: int
    missing: tuple[int, ...]
    share_of_starts: float | None
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


def evaluate(
    plan: Plan, measures: pd.DataFrame, steps: pd.DataFrame, subjects: Mapping[str, str] | None = None
) -> Evaluation:
    """Evaluate a plan on a run's `measures` and `steps` tables.

    Holm's adjustment counts every contrast that was declared in a Holm family: one that could not be tested stands in
    with p = 1, so that what went missing never makes the others look better.

    subjects: of each fact, for the bootstrap, which draws them with all of their facts; None takes each fact for one.
    """
    items = _Items.of(plan, measures, steps, subjects or {})
    checks = [_check(check, items) for check in plan.checks]
    failed = {check.declared.arm for check in checks if not check.passed}
    results = _adjusted(plan, [_contrast(contrast, items, plan.alpha) for contrast in plan.contrasts])
    primary = next(result for result in results if result.declared.name == plan.primary)
    open_gate = plan.rule == "holm" or _is_shown(primary, failed, plan.alpha)
    return Evaluation(
        [_judged(result, failed, open_gate, plan) for result in results],
        [_ratio(ratio, items) for ratio in plan.ratios],
        checks,
    )


def _adjusted(plan: Plan, results: Sequence[ContrastResult]) -> list[ContrastResult]:
    """With p values as the plan's rule adjusts them."""
    gatekeeper = plan.rule == "gatekeeper"
    p_holm: dict[str, float | None] = {}
    p_equivalence: dict[str, float | None] = {}
    for holm_family in dict.fromkeys(contrast.holm_family for contrast in plan.contrasts):
        own = [result for result in results if result.declared.holm_family == holm_family]
        alone = [result for result in own if gatekeeper and result.declared.name == plan.primary]
        p_holm |= by_holm({r.declared.name: r.p for r in own if r not in alone})
        p_holm |= {r.declared.name: r.p for r in alone}
        equivalence = {r.declared.name: r.p_equivalence for r in own}
        p_equivalence |= by_holm(equivalence) if gatekeeper else equivalence
    return [
        replace(r, p_holm=p_holm[r.declared.name], p_equivalence=p_equivalence[r.declared.name])
        for r in results
    ]


def by_holm(p_values: Mapping[_Name, float | None]) -> dict[_Name, float | None]:
    """Holm's adjusted p values by name. What has none counts as 1 in the adjustment, and stays without."""
    adjusted = holm([1.0 if p is None else p for p in p_values.values()])
    return {
        name: None if p is None else value
        for (name, p), value in zip(p_values.items(), adjusted, strict=True)
    }


@dataclass(frozen=True)
class _Items:
    """The plan's measures, one mean per fact; where each arm ended; where it crossed each threshold of forward KL."""

    means: "pd.Series[float]"  # by measure, arm, seed, step, split and fact
    last: Mapping[tuple[str, int], int]
    crossings: Mapping[tuple[str, int], Mapping[float, int]]
    frontiers: Callable[[str, str], Mapping[tuple[str, int], Frontier]]  # by split and measure of knowledge
    subjects: Mapping[str, str]
    starts: int

    @classmethod
    def of(
        cls, plan: Plan, measures: pd.DataFrame, steps: pd.DataFrame, subjects: Mapping[str, str]
    ) -> "_Items":
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
            subjects,
            plan.settings.starts,
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


def _contrast(contrast: Contrast, items: _Items, alpha: float) -> ContrastResult:
    if contrast.at == "equal-framing":
        pairs: dict[int, list[pd.Series[float]]] = {}
        differences = _at_equal_framing(contrast, items)
    else:
        pairs = _per_fact(contrast, items)
        differences = {
            seed: float(of_splits[0].mean() - sum(minus.mean() for minus in of_splits[1:]))
            for seed, of_splits in pairs.items()
        }
    values = units(differences, items.starts)
    many = len(values) >= 2
    return ContrastResult(
        contrast,
        differences=differences,
        estimate=float(np.mean(values)) if values else math.nan,
        share_of_starts=variance_share(list(differences.values()), unit_of_seeds(differences, items.starts)),
        interval=t_interval(values) if many else None,
        units=len(values),
        missing=tuple(seed for seed in _seeds(contrast, items) if seed not in differences),
        bootstrap=bootstrap_over_subjects(pairs, items.subjects, items.starts),
        p=p_value(values, contrast.alternative) if many else None,
        p_holm=None,
        p_equivalence=tost(values, contrast.smallest_effect, alpha).p if many else None,
        verdict="",
    )


def _per_fact(contrast: Contrast, items: _Items) -> "dict[int, list[pd.Series[float]]]":
    """By seed: per split, a difference per fact."""
    splits = [split for split in (contrast.split, contrast.minus_split) if split is not None]
    pairs = {}
    for seed in _seeds(contrast, items):
        of_splits = [_difference(contrast, items, seed, split) for split in splits]
        found = [x for x in of_splits if x is not None and len(x)]
        if len(found) == len(splits):
            pairs[seed] = found
    return pairs


def _difference(contrast: Contrast, items: _Items, seed: int, split: str) -> "pd.Series[float] | None":
    """Per fact the arm minus its baseline, less that of `minus_arms`; None where the arms have no step to compare."""
    total: pd.Series[float] | None = None
    for arm, baseline in contrast.pairs:
        at = items.steps_to_compare(contrast.at, arm, baseline, seed)
        if at is None:
            return None
        measure = contrast.measure
        own = items.at(measure, arm, seed, at[0], split) - items.at(measure, baseline, seed, at[1], split)
        total = own if total is None else total - own
    return None if total is None else total.dropna()


def _seeds(contrast: Contrast, items: _Items) -> list[int]:
    """The seeds in which all arms of a contrast were measured."""
    of_pairs = [items.seeds(arm, baseline) for arm, baseline in contrast.pairs]
    return [seed for seed in of_pairs[0] if all(seed in seeds for seeds in of_pairs)]


def _at_equal_framing(contrast: Contrast, items: _Items) -> dict[int, float]:
    """By seed: the difference of mean knowledge over the sealed framings, in seeds where all arms reached them.

    Plans up to version 2 sealed none: there it is the difference at the best framing that both arms reached.
    """
    every = items.frontiers(contrast.split, contrast.measure)
    differences = {}
    for seed in _seeds(contrast, items):
        total = 0.0
        for sign, (arm, baseline) in zip((1, -1), contrast.pairs, strict=False):
            one, other = every.get((arm, seed)), every.get((baseline, seed))
            if one is None or other is None:
                total = math.nan
                break
            low, high = contrast.framing or (min(one.best, other.best),) * 2
            total += sign * (one.area(low, high) - other.area(low, high))
        if not math.isnan(total):
            differences[seed] = total
    return differences


def _ratio(ratio: Ratio, items: _Items) -> RatioResult:
    arm, baseline = ratio.arm, ratio.baseline
    of_seeds: tuple[dict[int, float], dict[int, float]] = ({}, {})
    for seed in items.seeds(arm, baseline):
        changes = [
            (
                items.at(measure, arm, seed, items.last[arm, seed], split)
                - items.at(measure, baseline, seed, items.last[baseline, seed], split)
            ).mean()
            for measure, split in (ratio.numerator, ratio.denominator)
        ]
        if not any(map(math.isnan, changes)):
            of_seeds[0][seed] = ratio.sign * changes[0]
            of_seeds[1][seed] = changes[1]
    parts = [units(values, items.starts) for values in of_seeds]
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


def unit_of_seeds(seeds: Iterable[int], starts: int) -> list[int]:
    """What each seed counts for: its start model, or itself where one start model is given for all."""
    return [start_of_seed(seed, starts) if starts > 1 else seed for seed in seeds]


def units(of_seeds: Mapping[int, float], starts: int) -> list[float]:
    """What tests take for independent: a value of each start model, the mean over its seeds."""
    of_unit: dict[int, list[float]] = {}
    for unit, value in zip(unit_of_seeds(of_seeds, starts), of_seeds.values(), strict=True):
        of_unit.setdefault(unit, []).append(value)
    return [float(np.mean(values)) for values in of_unit.values()]


def bootstrap_over_subjects(
    pairs: "Mapping[int, Sequence[pd.Series[float]]]", subjects: Mapping[str, str], starts: int = 1
) -> Interval | None:
    """Over the subjects of all seeds and splits, each with all of its facts, the seeds being given.

    pairs: by seed the values by fact of a split, and of the one that is subtracted. starts: start models that seeds take
    in turn, whose means weigh the same. None where a split has facts of fewer than two subjects, or belongs to no fact.
    """
    own = unit_of_seeds(pairs, starts)
    weights = [1 / (len({*own}) * own.count(unit)) for unit in own]
    signed = [
        (sign * weight, x)
        for weight, of_splits in zip(weights, pairs.values(), strict=True)
        for sign, x in zip((1, -1), of_splits, strict=False)
    ]
    named = [x.index.to_series().map(lambda fact: subjects.get(fact, fact)) for _, x in signed]
    if not signed or any(names.nunique() < 2 for names in named):
        return None
    every = pd.Index(pd.concat(named).unique())
    rng = np.random.default_rng(0)
    times = rng.multinomial(len(every), np.full(len(every), 1 / len(every)), _DRAWS)
    estimate, resampled = 0.0, np.zeros(_DRAWS)
    for (weight, x), names in zip(signed, named, strict=True):
        at = every.get_indexer(pd.Index(names))
        sums = np.bincount(at, x.to_numpy(), len(every))
        facts = np.bincount(at, minlength=len(every))
        estimate += weight * float(x.mean())
        with np.errstate(invalid="ignore"):  # a draw may hold no subject of a small split
            resampled += weight * (times @ sums) / (times @ facts)
    drawn = resampled[np.isfinite(resampled)]
    return percentile_interval(estimate, drawn, len(every), "bootstrap over subjects, given the seeds")


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


def _is_shown(result: ContrastResult, failed: set[str], alpha: float) -> bool:
    """Whether a difference is significant, between arms whose training did what it was meant to."""
    sound = not failed & result.declared.arms and not result.missing
    return sound and result.p_holm is not None and result.p_holm < alpha


def _judged(result: ContrastResult, failed: set[str], open_gate: bool, plan: Plan) -> ContrastResult:
    """The result with its verdict in words."""
    seeds, smallest = len(result.differences), result.declared.smallest_effect
    if not seeds:
        return replace(result, verdict="not measured")
    if broken := sorted(failed & result.declared.arms):
        return replace(result, verdict=f"no verdict: the manipulation check of {' and '.join(broken)} failed")
    if seeds == 1:
        return replace(result, verdict="one seed: no verdict")
    if result.missing and plan.rule == "gatekeeper":
        where = ", ".join(map(str, result.missing))
        return replace(
            result, verdict=f"no verdict: in seed(s) {where} an arm did not reach the point of comparison"
        )
    if result.units == 1:
        return replace(result, verdict="one start model for all seeds: no verdict")
    if result.p_holm is None or result.p_equivalence is None:
        return replace(result, verdict="no verdict: every seed gave the same difference")
    shown = result.p_holm < plan.alpha
    if shown and open_gate:
        verdict = "lower" if result.estimate < 0 else "higher"
    elif result.p_equivalence < plan.alpha:
        verdict = f"equivalent within ±{smallest:g}"
    elif shown:
        return replace(result, verdict="not claimed: the primary difference is not shown")
    else:
        return replace(result, verdict="not shown")
    few = seeds < SEEDS_FOR_A_CLAIM or result.units < STARTS_FOR_A_CLAIM
    if plan.rule == "gatekeeper" and few:
        verdict += f" in {seeds} seeds: a demonstration"
    return replace(result, verdict=verdict)
