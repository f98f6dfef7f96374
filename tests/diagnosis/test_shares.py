import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valueattr.diagnosis import corrected_share

FACTS_EACH = 72


def rates(tpr, fpr):
    return pd.DataFrame(
        {
            "held": FACTS_EACH,
            "lost": FACTS_EACH,
            "held_called": np.rint(np.multiply(tpr, FACTS_EACH)).astype(int),
            "lost_called": np.rint(np.multiply(fpr, FACTS_EACH)).astype(int),
        }
    )


def called(count, of):
    return pd.Series([0.9] * count + [0.1] * (of - count))


def test_the_error_is_taken_out_of_the_raw_share():
    found = corrected_share(called(62, 100), rates([0.9, 0.9], [0.2, 0.2]))
    assert found.estimate == pytest.approx((0.62 - 0.2) / 0.7, abs=0.02)
    assert found.low < 0.6 < found.high


@given(st.integers(0, 40), st.floats(0.55, 1.0), st.floats(0.0, 0.45))
def test_no_interval_is_a_point_or_leaves_the_unit_interval(count, tpr, fpr):
    found = corrected_share(called(count, 40), rates([tpr, tpr], [fpr, fpr]))
    assert 0 <= found.low < found.high <= 1
    assert 0 <= found.estimate <= 1


def beta(rng, mean, spread, size):
    total = mean * (1 - mean) / spread**2 - 1
    return rng.beta(mean * total, (1 - mean) * total, size)


@pytest.mark.parametrize("planted", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_intervals_cover_the_planted_share_when_facts_and_recipes_are_drawn_anew(planted):
    """2,000 pairs, each made by a recipe of its own, whose rates are drawn like those of the controls."""
    rng = np.random.default_rng(int(100 * planted))
    covered = clipped = 0
    for _ in range(2000):
        controls = [rng.binomial(FACTS_EACH, beta(rng, mean, 0.05, 24)) / FACTS_EACH for mean in (0.93, 0.06)]
        tpr, fpr = beta(rng, 0.93, 0.05, 1)[0], beta(rng, 0.06, 0.05, 1)[0]
        held = rng.binomial(96, planted)
        count = rng.binomial(held, tpr) + rng.binomial(96 - held, fpr)
        found = corrected_share(called(count, 96), rates(*controls))
        covered += found.low <= planted <= found.high
        clipped += found.low == 0 or found.high == 1
    assert covered >= 0.93 * 2000
    if not clipped:
        assert covered <= 0.97 * 2000
