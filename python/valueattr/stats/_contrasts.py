"""The contrasts and checks that a plan declares, computed from the tables as the plan says."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from valueattr.stats._intervals import Interval, hierarchical_bootstrap, t_interval
from valueattr.stats._tests import holm, p_value, tost


@dataclass(frozen=True)
class ContrastResult:
    """A declared difference: per seed, with its interval over seeds (None with one) and over facts, and a verdict."""

    name: str
    title: str
    measure: str
    arm: str
    baseline: str
    split: str
    minus_split: str | None
    at: str
    differences: Mapping[int, float]
    estimate: float
    interval: Interval | None
    bootstrap: Interval | None
    p: float | None
    p_holm: float | None
    p_equivalence: float | None
    verdict: str


@dataclass(frozen=True)
class CheckResult:
    """Whether training did what it was meant to; `values` holds per seed the arm's and the other's mean."""

    arm: str
    measure: str
    split: str
    rule: str
    against: str
    by: float
    values: Mapping[int, tuple[float, float]]
    passed: bool


@dataclass(frozen=True)
class Evaluation:
    """All contrasts and checks of a plan, in its order."""

    contrasts: list[ContrastResult]
    checks: list[CheckResult]

    def contrast(self, name: str) -> ContrastResult:
        """The contrast of this name.

        Raises:
            KeyError: the plan declares none.
        """
        for result in self.contrasts:
            if result.name == name:
                return result
        raise KeyError(name)


def evaluate(plan: Mapping[str, Any], measures: pd.DataFrame, steps: pd.DataFrame) -> Evaluation:
    """Evaluate a plan on a run's `measures` and `steps` tables."""
    wanted = {c["measure"] for c in (*plan["family"], *plan["manipulation_checks"])}
    rows = measures[measures["measure"].isin(wanted)]
    last = measures.groupby(["arm", "seed"], observed=True)["step"].max()
    checks = [_check(check, rows, last) for check in plan["manipulation_checks"]]
    failed = {check.arm for check in checks if not check.passed}
    results = [_contrast(contrast, rows, last, steps) for contrast in plan["family"]]
    adjusted = iter(holm([result.p for result in results if result.p is not None]))
    results = [replace(r, p_holm=next(adjusted)) if r.p is not None else r for r in results]
    alpha, smallest = float(plan["alpha"]), float(plan["smallest_effect"])
    return Evaluation([_judged(result, failed, alpha, smallest) for result in results], checks)


_Last = Any  # pandas.Series of steps, indexed by (arm, seed)


def _items(
    rows: pd.DataFrame, arm: str, seed: int, split: str, step: int, measure: str
) -> "pd.Series[float]":
    """The mean per fact and wording, indexed so."""
    chosen = rows[
        (rows["arm"] == arm)
        & (rows["seed"] == seed)
        & (rows["split"] == split)
        & (rows["step"] == step)
        & (rows["measure"] == measure)
    ]
    wording = chosen["format"].astype(object).fillna("").astype(str) + chosen["paraphrase"].astype(str)
    return chosen.groupby([chosen["fact"].astype(str), wording.rename("wording")])["value"].mean()


def _mean_over_facts(items: "pd.Series[float]") -> float:
    return float(items.groupby(level="fact").mean().mean())


def _contrast(
    contrast: Mapping[str, Any], rows: pd.DataFrame, last: _Last, steps: pd.DataFrame
) -> ContrastResult:
    differences: dict[int, float] = {}
    items = []
    for seed in sorted({seed for arm, seed in last.index if arm == contrast["arm"]}):
        at = _steps_to_compare(contrast, seed, last, steps)
        if at is None:
            continue
        parts = []
        for split in (contrast["split"], contrast["minus_split"]):
            if split is None:
                continue
            a = _items(rows, contrast["arm"], seed, split, at[0], contrast["measure"])
            b = _items(rows, contrast["baseline"], seed, split, at[1], contrast["measure"])
            parts.append((a - b).dropna())
        if any(part.empty for part in parts):
            continue
        reference = _mean_over_facts(parts[1]) if len(parts) > 1 else 0.0
        differences[seed] = _mean_over_facts(parts[0]) - reference
        items.append((parts[0] - reference).rename("difference").reset_index().assign(seed=seed))
    values = list(differences.values())
    many = len(values) >= 2
    return ContrastResult(
        **{
            k: contrast[k]
            for k in ("name", "title", "measure", "arm", "baseline", "split", "minus_split", "at")
        },
        differences=differences,
        estimate=float(pd.Series(values, dtype=float).mean()),
        interval=t_interval(values) if many else None,
        bootstrap=_bootstrap(pd.concat(items)) if items else None,
        p=p_value(values) if many else None,
        p_holm=None,
        p_equivalence=None,
        verdict="",
    )


def _bootstrap(items: pd.DataFrame) -> Interval | None:
    """Over the facts of all seeds, and the wordings of each; None for one fact."""
    items = items.assign(fact=items["seed"].astype(str) + " " + items["fact"])
    if items["fact"].nunique() < 2:
        return None
    return hierarchical_bootstrap(items, ["fact", "wording"], "difference")


def _steps_to_compare(
    contrast: Mapping[str, Any], seed: int, last: _Last, steps: pd.DataFrame
) -> tuple[int, int] | None:
    arms = (contrast["arm"], contrast["baseline"])
    if any((arm, seed) not in last.index for arm in arms):
        return None
    if contrast["at"] == "equal-steps":
        return int(last[arms[0], seed]), int(last[arms[1], seed])
    crossings = [_crossings(steps, arm, seed) for arm in arms]
    shared = crossings[0].keys() & crossings[1].keys()
    if not shared:
        return None
    return crossings[0][max(shared)], crossings[1][max(shared)]


def _crossings(steps: pd.DataFrame, arm: str, seed: int) -> dict[float, int]:
    """The step at which an arm crossed each threshold of forward KL."""
    names = steps["name"].astype(str)
    chosen = steps[(steps["arm"] == arm) & (steps["seed"] == seed) & names.str.startswith("checkpoint/kl_")]
    thresholds = chosen["name"].astype(str).str.removeprefix("checkpoint/kl_").astype(float)
    return {float(kl): int(step) for kl, step in zip(thresholds, chosen["step"], strict=True)}


def _check(check: Mapping[str, Any], rows: pd.DataFrame, last: _Last) -> CheckResult:
    values: dict[int, tuple[float, float]] = {}
    for seed in sorted({seed for arm, seed in last.index if arm == check["arm"]}):
        if (check["against"], seed) not in last.index:
            continue
        means = [
            _mean_over_facts(_items(rows, arm, seed, check["split"], int(last[arm, seed]), check["measure"]))
            for arm in (check["arm"], check["against"])
        ]
        values[seed] = (means[0], means[1])
    if check["rule"] == "halved":
        held = [value <= other / 2 for value, other in values.values()]
    else:
        held = [value - other >= check["by"] for value, other in values.values()]
    keys = {k: check[k] for k in ("arm", "measure", "split", "rule", "against", "by")}
    return CheckResult(**keys, values=values, passed=bool(held) and all(held))


def _judged(result: ContrastResult, failed: set[str], alpha: float, smallest: float) -> ContrastResult:
    """The result with its equivalence test and its verdict in words."""
    if not result.differences:
        return replace(result, verdict="not measured")
    values = list(result.differences.values())
    p_equivalence = tost(values, smallest, alpha).p if len(values) >= 2 else None
    result = replace(result, p_equivalence=p_equivalence)
    if broken := [arm for arm in (result.arm, result.baseline) if arm in failed]:
        return replace(result, verdict=f"no verdict: the manipulation check of {' and '.join(broken)} failed")
    if p_equivalence is None or result.p_holm is None:
        return replace(result, verdict="one seed: no verdict")
    if result.p_holm < alpha:
        return replace(result, verdict="lower" if result.estimate < 0 else "higher")
    if p_equivalence < alpha:
        return replace(result, verdict=f"equivalent within ±{smallest:g}")
    return replace(result, verdict="not shown")
