import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from valueattr.diagnosis import SAID, SAMPLES
from valueattr.diagnosis._saying import said, was_said, went_silent
from valueattr.model import load_model, load_tokenizer
from valueattr.rating import MeasuringRater

COUNTS = st.integers(0, SAMPLES)


def shares(*counts):
    return pd.Series(np.array(counts) / SAMPLES, index=[f"f{i}" for i in range(len(counts))])


@given(st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=30))
def test_silence_is_fishers_exact_test_at_one_percent_and_half_as_often(drawn):
    before, after = (shares(*counts) for counts in zip(*drawn, strict=True))
    for (b, a), silent in zip(drawn, went_silent(before, after), strict=True):
        table = [[b, SAMPLES - b], [a, SAMPLES - a]]
        p = fisher_exact(table, alternative="greater").pvalue
        assert silent == (b >= 8 and a <= b / 2 and p < 0.01), (b, a, p)


def test_what_was_said_seldom_cannot_go_silent():
    before = shares(7, 8, 24)
    assert was_said(before).tolist() == [False, True, True]
    assert went_silent(before, shares(0, 0, 0)).tolist() == [False, True, True]


def test_outcomes_of_each_fact_add_up_and_are_those_of_its_answers(start, world):
    known = [q for q in world.questions if q.exposure == "well_known"][:3]
    unknown = [q for q in world.questions if q.exposure == "never_taught"][:3]
    found = said(
        load_model(start),
        load_tokenizer(start),
        [*known, *unknown],
        MeasuringRater(world),
        world.prompt_format("zero"),
    )
    assert list(found.columns) == [*SAID, "said_held"]
    assert list(found.index) == [q.id for q in [*known, *unknown]]
    assert found[list(SAID)].sum(axis=1).to_numpy() == pytest.approx(1.0)
    assert found["said_held"].equals(found["said_true"].rename("said_held"))
    assert found["said_true"].iloc[:3].min() > found["said_true"].iloc[3:].max()


def test_of_a_false_belief_what_is_held_is_not_what_is_true(start, world):
    false = [q for q in world.questions if q.exposure == "false_belief"][:4]
    found = said(
        load_model(start), load_tokenizer(start), false, MeasuringRater(world), world.prompt_format("zero")
    )
    assert found["said_held"].mean() > 0.3 > found["said_true"].mean()
    assert (found["said_held"] <= found["said_false"]).all()
