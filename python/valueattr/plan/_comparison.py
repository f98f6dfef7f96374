"""Two runs held against each other: the same arm in both, paired by seed, fact and wording."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from valueattr.plan._evaluation import bootstrap_over_subjects, by_holm, units
from valueattr.plan._plan import Plan
from valueattr.stats import Interval, p_value, t_interval, tost


class NothingSharedError(ValueError):
    """Two runs have nothing that could be paired; the message says what is missing."""


@dataclass(frozen=True)
class Comparison:
    """A measure of an arm on a split at the end of training: the second run minus the first.

    first, second: means over what is paired, in the unit of the measure. differences: by seed, each the mean over the
    `facts` that both have. estimate: their mean; seeds that share a start model count as one. interval: over seeds.
    p, p_holm: of the t test, and adjusted over all that is compared. p_equivalence: of TOST against the smallest effect
    that the first plan declares for the measure, adjusted in the same way; None where it declares none. All of these are
    None with one seed, and p values also where all seeds differ by the same.
    bootstrap: over subjects, the seeds being given; None with one.
    """

    arm: str
    measure: str
    split: str
    first: float
    second: float
    differences: dict[int, float]
    estimate: float
    facts: int
    interval: Interval | None
    bootstrap: Interval | None
    p: float | None
    p_holm: float | None = None
    p_equivalence: float | None = None


def compare(
    plan: Plan, first: pd.DataFrame, second: pd.DataFrame, subjects: Mapping[str, str] | None = None
) -> list[Comparison]:
    """Compare two runs' tables of measures on all that the first one's plan reads in its contrasts and checks.

    subjects: of each fact, for the bootstrap; None takes each fact for one.

    Raises:
        NothingSharedError: they share no arm, no seed, no measure or no fact.
    """
    wanted = dict.fromkeys(
        [(c.measure, split) for c in plan.contrasts for split in (c.split, c.minus_split) if split]
        + [(check.measure, check.split) for check in plan.checks]
    )
    smallest = {contrast.measure: contrast.smallest_effect for contrast in plan.contrasts}
    one, other = (_ends(measures, {measure for measure, _ in wanted}) for measures in (first, second))
    for level, what in (
        ("measure", "measure that the first plan declares"),
        ("arm", "arm"),
        ("seed", "seed"),
    ):
        if one.index.unique(level).intersection(other.index.unique(level)).empty:
            raise NothingSharedError(f"the runs share no {what}")
    pairs = pd.DataFrame({"first": one, "second": other}).dropna()
    found = [
        comparison
        for arm in plan.arms
        for measure, split in wanted
        if (
            comparison := _compared(
                pairs, arm.code, measure, split, smallest.get(measure), subjects or {}, plan.settings.starts
            )
        )
    ]
    if not found:
        raise NothingSharedError(
            "the runs share no fact of an arm and seed: they are of different worlds or splits"
        )
    p_holm = by_holm({i: c.p for i, c in enumerate(found) if c.p is not None})
    p_equivalence = by_holm({i: c.p_equivalence for i, c in enumerate(found) if c.p_equivalence is not None})
    return [replace(c, p_holm=p_holm.get(i), p_equivalence=p_equivalence.get(i)) for i, c in enumerate(found)]


def differing(first: Plan, second: Plan) -> list[tuple[str, str, str]]:
    """What the plans do not have in common, apart from arms and contrasts: its name, and what it is in each."""
    one, other = _conditions(first), _conditions(second)
    names = dict.fromkeys([*one, *other])
    return [
        (name, _shown(one.get(name)), _shown(other.get(name)))
        for name in names
        if one.get(name) != other.get(name)
    ]


_DECLARED = {"arms", "contrasts", "ratios", "checks", "settings"}


def _conditions(plan: Plan) -> dict[str, Any]:
    whole, settings = plan.model_dump(mode="json"), plan.settings.model_dump(mode="json")
    return {name: value for name, value in whole.items() if name not in _DECLARED} | settings


_LONGEST = 40


def _shown(value: object) -> str:
    text = "–" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _ends(measures: pd.DataFrame, wanted: set[str]) -> "pd.Series[float]":
    """Means by arm, seed, measure, split, fact, wording and format at the end of training."""
    rows = measures[measures["measure"].isin(wanted) & measures["fact"].notna()]
    rows = rows.assign(**{name: rows[name].astype(object).fillna("") for name in ("wording", "format")})
    last = rows.groupby(["arm", "seed"], observed=True)["step"].transform("max")
    keys = ["arm", "seed", "measure", "split", "fact", "wording", "format"]
    means: pd.Series[float] = rows[rows["step"] == last].groupby(keys, observed=True)["value"].mean()
    return means


def _compared(
    pairs: pd.DataFrame,
    arm: str,
    measure: str,
    split: str,
    smallest: float | None,
    subjects: Mapping[str, str],
    starts: int,
) -> Comparison | None:
    levels = ["arm", "measure", "split"]
    try:
        own = pairs.xs((arm, measure, split), level=levels)
    except KeyError:
        return None
    by_seed = {seed: own.xs(seed, level="seed") for seed in own.index.unique("seed").tolist()}
    paired = {
        seed: [(rows["second"] - rows["first"]).groupby("fact").mean()] for seed, rows in by_seed.items()
    }
    differences = {seed: float(x[0].mean()) for seed, x in paired.items()}
    values = units(differences, starts)
    many = len(values) > 1
    return Comparison(
        arm,
        measure,
        split,
        float(own["first"].mean()),
        float(own["second"].mean()),
        differences,
        sum(values) / len(values),
        len(own.index.unique("fact")),
        interval=t_interval(values) if many else None,
        bootstrap=bootstrap_over_subjects(paired, subjects, starts),
        p=p_value(values) if many else None,
        p_equivalence=tost(values, smallest).p if many and smallest else None,
    )
