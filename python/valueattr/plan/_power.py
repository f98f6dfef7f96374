"""How small an effect a plan can show: what its decision rule finds four times in five, by simulation."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from valueattr.plan._contrasts import Contrast
from valueattr.plan._experiment import EMBEDDED
from valueattr.plan._plan import Plan

SPREADS: Mapping[str, float] = {
    "assert_true": 0.026,
    "belief_margin": 0.58,
    "bits": 0.22,
    "corrected": 0.074,
    "courtesy": 0.02,
    "distance_slope": 0.024,
    "hedging_slope": 0.94,
}
"""Standard deviations over seeds of differences between arms, pooled over the declared contrasts of a measure in
docs/results (E1, E2 and E3, `tiny`, 3 seeds of one start model): in the unit of the measure. Seeds with start models of
their own may spread more."""

POWER = 0.8
_DRAWS = 4000
_STEPS = 24


@dataclass(frozen=True)
class SmallestShown:
    """The smallest effect that a contrast shows four times in five; None with one seed or where its spread is not known."""

    declared: Contrast
    effect: float | None


def smallest_shown(plan: Plan, seeds: int) -> list[SmallestShown]:
    """What so many seeds can show of each contrast of a plan, once the gate is open.

    The other differences of a Holm family are taken to be none, and independent. Spreads are `SPREADS`, so that this holds
    for runs of the size of `tiny` on the embedded world.
    """
    units = min(seeds, plan.settings.starts) if plan.settings.starts > 1 else seeds
    return [SmallestShown(contrast, _effect(plan, contrast, units)) for contrast in plan.contrasts]


def power_in_words(plan: Plan, seeds: int) -> str:
    """In one sentence what so many seeds can show, for whoever is about to run the plan."""
    if seeds < 2:
        return "one seed is a demonstration: no contrast can have a verdict"
    if plan.model != EMBEDDED or plan.preset != "tiny":
        return (
            "how small an effect so many seeds show was measured for runs of tiny on the embedded world alone"
        )
    shown = {s.declared.name: s for s in smallest_shown(plan, seeds)}
    primary = shown.pop(plan.primary)
    if primary.effect is None:
        return f"how small an effect so many seeds show was not measured for {primary.declared.measure}"
    of_unit: dict[str, list[float]] = {}
    for other in shown.values():
        if other.effect is not None:
            of_unit.setdefault(other.declared.unit, []).append(other.effect)
    others = ", ".join(f"{max(effects):.2g} {unit}" for unit, effects in of_unit.items())
    behind = f"; in other contrasts they show differences from {others}" if others else ""
    return (
        f"{seeds} seeds show with a probability of {POWER:.0%} differences from {primary.effect:.2g} "
        f"{primary.declared.unit} in the primary contrast{behind}"
    )


def _effect(plan: Plan, contrast: Contrast, units: int) -> float | None:
    spread = SPREADS.get(contrast.measure.partition("/")[0])
    if spread is None or units < 2:
        return None
    family = sum(c.holm_family == contrast.holm_family and c.name != plan.primary for c in plan.contrasts)
    alone = contrast.name == plan.primary
    return spread * standardised_effect(units, 1 if alone else family, plan.alpha)


@lru_cache
def standardised_effect(units: int, family: int, alpha: float) -> float:
    """The effect, in standard deviations of the units, that is shown with probability `POWER`.

    units: independent differences behind a t test, two or more. family: of so many differences Holm adjusts for, all
    others being none.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(_DRAWS, units))
    others = np.sort(rng.uniform(size=(_DRAWS, family - 1)), axis=1)
    mean, error = x.mean(1), x.std(1, ddof=1) / units**0.5

    def power(effect: float) -> float:
        p = 2 * stats.t.sf(np.abs(mean + effect) / error, units - 1)
        rank = (others < p[:, None]).sum(1)
        every = np.sort(np.column_stack([others, p]), axis=1)
        passed = np.minimum.accumulate(every <= alpha / np.arange(family, 0, -1), axis=1)
        return float(passed[np.arange(_DRAWS), rank].mean())

    low, high = 0.0, 1.0
    while power(high) < POWER:
        high *= 2
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if power(middle) < POWER else (low, middle)
    return high
