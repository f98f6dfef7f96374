"""Knowledge against framing along training: what was given up on the way to each framing that was reached."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from valueattr.plan._plan import Plan

FRAMING = "courtesy"
"""The measure of framing: by a rater that no arm is trained on."""

_GRID = 101


@dataclass(frozen=True)
class Frontier:
    """One arm and seed: framing and knowledge at the measured steps, from the start model on, each shape (points,)."""

    steps: NDArray[np.int64]
    framing: NDArray[np.float64]
    knowledge: NDArray[np.float64]

    @property
    def best(self) -> float:
        """The best framing that was reached."""
        return float(self.framing.max())

    def knowledge_at(self, framing: float) -> float:
        """Knowledge where training first reached this framing, linear between measurements; NaN if it never did."""
        reached = np.flatnonzero(self.framing >= framing)
        if not len(reached):
            return float("nan")
        i = int(reached[0])
        if i == 0:
            return float(self.knowledge[0])
        span = self.framing[i] - self.framing[i - 1]
        share = (framing - self.framing[i - 1]) / span
        return float(self.knowledge[i - 1] + share * (self.knowledge[i] - self.knowledge[i - 1]))

    def area(self, low: float, high: float) -> float:
        """Mean knowledge over the framings from `low` to `high` (the area under the frontier, per unit of framing)."""
        grid = np.linspace(low, high, _GRID)
        return float(np.mean([self.knowledge_at(value) for value in grid]))


def frontiers(
    plan: Plan, measures: pd.DataFrame, split: str, knowledge: str
) -> dict[tuple[str, int], Frontier]:
    """The frontier of every trained arm and seed, by (arm, seed); the start model of its prompt family is step 0."""
    rows = measures[measures["measure"].isin([FRAMING, knowledge]) & (measures["split"] == split)]
    means = rows.astype({"arm": str, "measure": str}).pivot_table(
        index=["arm", "seed", "step"], columns="measure", values="value"
    )
    points = means.reindex(columns=[FRAMING, knowledge]).dropna().reset_index()
    starts = {arm.prompt_family: arm.code for arm in plan.arms if arm.feedback is None}
    found = {}
    with_feedback = [arm.code for arm in plan.arms if arm.feedback is not None]
    trained = points[points["arm"].isin(with_feedback)]
    for arm, seed in trained[["arm", "seed"]].drop_duplicates().itertuples(index=False, name=None):
        own = trained[(trained["arm"] == arm) & (trained["seed"] == seed)]
        start = points[(points["arm"] == starts.get(plan.arm(arm).prompt_family)) & (points["seed"] == seed)]
        line = pd.concat([start, own]).sort_values("step")
        found[arm, int(seed)] = Frontier(
            line["step"].to_numpy(), line[FRAMING].to_numpy(), line[knowledge].to_numpy()
        )
    return found


def common_range(of_arms: Sequence[Frontier]) -> tuple[float, float] | None:
    """The framings that all reach, from the worst start on; None if there are none."""
    low = max(float(frontier.framing[0]) for frontier in of_arms)
    high = min(frontier.best for frontier in of_arms)
    return (low, high) if high > low else None
