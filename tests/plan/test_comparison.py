"""Two runs held against each other, against a comparison by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import an_arm, small_plan
from valueattr.plan import Check, Contrast, NothingSharedError, compare, differing
from valueattr.stats import holm, p_value

PLAN = small_plan(
    arms=[an_arm("a1"), an_arm("a3")],
    contrasts=[Contrast("main", "main", "m", "a3", "a1", "p", minus_split="u")],
    checks=[Check("a3", "b", "p", "halved", "a1")],
)


def rows(values, seeds=(0, 1, 2), arms=("a1", "a3"), facts=range(5), step=10, measures=("m", "b")):
    """values: of arm, seed, split and fact."""
    return pd.DataFrame(
        [
            {
                "arm": arm,
                "seed": seed,
                "step": at,
                "measure": measure,
                "split": split,
                "fact": f"{split}{fact}",
                "wording": wording,
                "format": None,
                "value": values(arm, seed, split, fact) + (100 if at < step else 0),
            }
            for arm in arms
            for seed in seeds
            for measure in measures
            for split in ("p", "u")
            for fact in facts
            for wording in ("asked-0", "asked-1")
            for at in (step - 5, step)
        ]
    )


def drawn(seed):
    rng = np.random.default_rng(seed)
    table = {}
    return lambda *key: table.setdefault(key, float(rng.normal()))


def test_a_comparison_by_hand():
    one, other = drawn(0), drawn(1)
    found = compare(PLAN, rows(one), rows(other))
    assert [(c.arm, c.measure, c.split) for c in found] == [
        (arm, *what) for arm in ("a1", "a3") for what in (("m", "p"), ("m", "u"), ("b", "p"))
    ]
    for c in found:
        by_hand = {
            seed: np.mean([other(c.arm, seed, c.split, f) - one(c.arm, seed, c.split, f) for f in range(5)])
            for seed in (0, 1, 2)
        }
        assert c.differences == pytest.approx(by_hand)
        assert c.estimate == pytest.approx(np.mean(list(by_hand.values())))
        assert c.p == pytest.approx(p_value(list(by_hand.values())))
        assert c.interval.low <= c.estimate <= c.interval.high
        assert c.facts == 5
    assert [c.p_holm for c in found] == pytest.approx(holm([c.p for c in found]))


def test_the_other_way_round_every_sign_turns():
    one, other = rows(drawn(0)), rows(drawn(1))
    there, back = (compare(PLAN, a, b) for a, b in ((one, other), (other, one)))
    for c, d in zip(there, back, strict=True):
        assert c.estimate == pytest.approx(-d.estimate)
        assert (c.first, c.second) == pytest.approx((d.second, d.first))
        assert c.p == pytest.approx(d.p)


def test_a_run_against_itself_is_no_difference():
    table = rows(drawn(0))
    for c in compare(PLAN, table, table):
        assert c.estimate == 0
        assert (
            c.p is c.p_holm is c.p_equivalence is None
        )  # nothing is known of the spread of what never differs


def test_equivalence_is_tested_where_the_plan_declares_a_smallest_effect():
    one = rows(drawn(0))
    rng = np.random.default_rng(1)
    other = one.assign(value=one["value"] + one["seed"].map(dict(enumerate(rng.normal(0, 0.01, 3)))))
    found = compare(PLAN, one, other)
    p = {c.measure: c.p_equivalence for c in found}
    assert p["b"] is None  # of a check
    assert 0 < p["m"] < 0.05


def test_wordings_that_one_run_lacks_are_left_out():
    one, other = rows(drawn(0)), rows(drawn(0))
    second = other["wording"] == "asked-1"
    other.loc[second, "value"] += 7
    assert compare(PLAN, one, other)[0].estimate == pytest.approx(3.5)
    assert compare(PLAN, one, other[~second])[0].estimate == 0


def test_the_bootstrap_draws_subjects():
    one, other = (rows(drawn(i), facts=range(12)) for i in range(2))
    by_fact = compare(PLAN, one, other)[0].bootstrap
    of_one = {f"{split}{fact}": f"{split}{fact % 3}" for split in "pu" for fact in range(12)}
    by_subject = compare(PLAN, one, other, of_one)[0].bootstrap
    assert (by_fact.n, by_subject.n) == (12, 3)


def test_only_what_both_have_is_paired():
    one = rows(drawn(0), seeds=(0, 1, 2), facts=range(5))
    other = rows(drawn(1), seeds=(1, 2, 3), arms=("a3",), facts=range(2, 8))
    found = compare(PLAN, one, other)
    assert {c.arm for c in found} == {"a3"}
    assert all(set(c.differences) == {1, 2} and c.facts == 3 for c in found)


def test_one_seed_carries_no_test_and_one_fact_no_interval():
    (c, *_) = compare(PLAN, *(rows(drawn(i), seeds=(0,), facts=(1,)) for i in range(2)))
    assert c.interval is c.p is c.p_holm is c.bootstrap is None


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"arms": ("a9",)}, "no arm"),
        ({"seeds": (7,)}, "no seed"),
        ({"measures": ("other",)}, "no measure that the first plan declares"),
        ({"facts": range(50, 55)}, "no fact of an arm and seed: they are of different worlds or splits"),
    ],
)
def test_runs_that_share_nothing_are_refused(other, what):
    with pytest.raises(NothingSharedError, match=f"the runs share {what}"):
        compare(PLAN, rows(drawn(0)), rows(drawn(1), **other))


@given(shift=st.floats(-5, 5), seed=st.integers(0, 9))
def test_a_shift_of_every_value_is_found_as_it_is(shift, seed):
    one = rows(drawn(seed), seeds=(0, 1), facts=range(2))
    for c in compare(PLAN, one, one.assign(value=one["value"] + shift)):
        assert c.estimate == pytest.approx(shift, abs=1e-9)


def test_what_the_plans_do_not_share_is_named():
    settings = PLAN.settings.model_copy(update={"learning_rate": 0.5})
    other = PLAN.model_copy(update={"settings": settings, "model": "./mine"})
    assert list(differing(PLAN, PLAN)) == []
    assert differing(PLAN, other) == [
        ("model", PLAN.model, "./mine"),
        ("learning_rate", str(PLAN.settings.learning_rate), "0.5"),
    ]
