from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.builders import an_arm, small_plan
from valueattr.plan import Contrast, Frontier, Ratio, common_range, evaluate, frontiers

PLAN = small_plan(
    arms=[an_arm("s0", None), an_arm("s2"), an_arm("s6")],
    contrasts=[Contrast("attribution", "t", "k", "s6", "s2", "p", at="equal-framing")],
    ratios=[Ratio("tax", "tax", "s2", "s0", ("k", "p"), ("courtesy", "p"), sign=-1)],
)
# arm -> (framing, knowledge) at steps 0 (the start), 10, 20
POINTS = {"s0": [(0.4, 6.0)], "s2": [(0.6, 5.0), (0.9, 2.0)], "s6": [(0.5, 6.0), (0.8, 5.5)]}


def tables(seeds, noise=0.0, framing_noise=0.0):
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        for arm, points in POINTS.items():
            for i, (framing, knowledge) in enumerate(points):
                step = 0 if arm == "s0" else 10 * (i + 1)
                keys = {"arm": arm, "seed": seed, "step": step, "split": "p", "fact": "f"}
                rows.append({**keys, "measure": "courtesy", "value": framing + rng.normal(0, framing_noise)})
                rows.append({**keys, "measure": "k", "value": knowledge + rng.normal(0, noise)})
    return pd.DataFrame(rows), pd.DataFrame({"arm": [], "seed": [], "step": [], "name": [], "value": []})


def test_a_frontier_starts_at_the_start_model():
    found = frontiers(PLAN, tables(1)[0], "p", "k")
    assert set(found) == {("s2", 0), ("s6", 0)}
    assert found["s2", 0].steps.tolist() == [0, 10, 20]
    assert found["s2", 0].framing.tolist() == [0.4, 0.6, 0.9]


def test_knowledge_at_a_framing_is_read_where_it_was_first_reached():
    line = Frontier(np.arange(4), np.array([0.4, 0.6, 0.5, 0.9]), np.array([6.0, 5.0, 9.0, 1.0]))
    assert line.knowledge_at(0.4) == 6.0
    assert line.knowledge_at(0.5) == pytest.approx(5.5)  # between the first two, not at the third
    assert line.knowledge_at(0.7) == pytest.approx(5.0)
    assert np.isnan(line.knowledge_at(0.95))
    assert line.best == 0.9


def test_the_area_is_the_mean_knowledge_over_the_range():
    line = Frontier(np.arange(2), np.array([0.0, 1.0]), np.array([4.0, 2.0]))
    assert line.area(0.0, 1.0) == pytest.approx(3.0)
    assert line.area(0.5, 1.0) == pytest.approx(2.5)


def test_arms_are_compared_at_the_framing_that_both_reach():
    attribution = evaluate(PLAN, *tables(3)).contrast("attribution")
    # both reach .8; s2 passed it two thirds of the way from .6 to .9
    assert attribution.differences == pytest.approx(dict.fromkeys(range(3), 5.5 - 3.0))
    assert attribution.verdict == "no verdict: every seed gave the same difference"
    assert attribution.bootstrap is None


def test_a_sealed_range_of_framings_is_compared_over_and_must_be_reached():
    def with_framing(*range_):
        sealed = replace(PLAN.contrasts[0], framing=range_)
        return PLAN.model_copy(update={"contrasts": (sealed,), "ratios": ()})

    rows, log = tables(3, noise=0.01)
    every = frontiers(PLAN, rows, "p", "k")
    found = evaluate(with_framing(0.5, 0.7), rows, log).contrast("attribution")
    assert found.differences == pytest.approx(
        {seed: every["s6", seed].area(0.5, 0.7) - every["s2", seed].area(0.5, 0.7) for seed in range(3)}
    )
    assert found.p < 0.05
    assert evaluate(with_framing(0.5, 0.85), rows, log).contrast("attribution").verdict == "not measured"


def test_the_common_range_ends_where_the_least_arm_does():
    found = list(frontiers(PLAN, tables(1)[0], "p", "k").values())
    assert common_range(found) == (0.4, 0.8)
    still = Frontier(np.array([0]), np.array([0.4]), np.array([6.0]))
    assert common_range([*found, still]) is None


def test_a_ratio_is_of_changes_from_the_start():
    (tax,) = evaluate(PLAN, *tables(5, noise=0.1, framing_noise=0.01)).ratios
    assert tax.interval.estimate == pytest.approx((6.0 - 2.0) / (0.9 - 0.4), rel=0.1)
    assert tax.interval.low < 8.0 < tax.interval.high


def test_a_ratio_without_a_denominator_is_not_defined():
    (tax,) = evaluate(PLAN, *tables(3, framing_noise=2.0)).ratios
    assert tax.interval is None
    assert "includes 0" in tax.reason
    (tax,) = evaluate(PLAN, *tables(1)).ratios
    assert (tax.interval, tax.reason) == (None, "one seed carries no interval")
    assert tax.estimate == pytest.approx((6.0 - 2.0) / (0.9 - 0.4), rel=0.1)
