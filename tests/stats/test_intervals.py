import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from valueattr.stats import (
    TooFewClustersError,
    fieller,
    hierarchical_bootstrap,
    holm,
    p_value,
    t_interval,
    tost,
)

values = st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=2, max_size=12)


def test_t_interval_by_hand():
    interval = t_interval([1.0, 2.0, 3.0])
    # mean 2, sd 1, standard error 1/sqrt(3), t(.975, 2) = 4.302653
    assert (interval.estimate, interval.n) == (2.0, 3)
    assert interval.high - 2.0 == pytest.approx(4.302653 / 3**0.5, abs=1e-5)


@given(values)
def test_t_interval_and_test_agree_with_scipy(x):
    interval = t_interval(x)
    if np.ptp(x) > 1e-6:
        result = stats.ttest_1samp(x, 0.0)
        expected = result.confidence_interval()
        assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
        assert p_value(x) == pytest.approx(result.pvalue)


@pytest.mark.parametrize("function", [t_interval, p_value, lambda x: tost(x, 1.0), lambda x: fieller(x, x)])
def test_one_cluster_is_an_error_and_not_a_zero(function):
    with pytest.raises(TooFewClustersError):
        function([1.0])


@pytest.mark.parametrize("seeds", [3, 8])
def test_t_interval_covers_at_its_nominal_rate(seeds):
    rng = np.random.default_rng(0)
    draws = rng.normal(0.0, 1.0, (2_000, seeds))
    covered = [(i := t_interval(x)).low <= 0 <= i.high for x in draws]
    assert 0.93 <= np.mean(covered) <= 0.97


def naive_bootstrap(frame, draws, rng):
    facts = frame["fact"].unique()
    means = []
    for _ in range(draws):
        sampled = []
        for fact in rng.choice(facts, len(facts)):
            wordings = frame[frame["fact"] == fact].groupby("wording")["value"].mean().to_numpy()
            sampled.append(rng.choice(wordings, len(wordings)).mean())
        means.append(np.mean(sampled))
    return np.quantile(means, [0.025, 0.975])


def test_hierarchical_bootstrap_agrees_with_a_naive_loop():
    rng = np.random.default_rng(1)
    rows = [
        {"fact": f"f{i}", "wording": j, "value": effect + rng.normal()}
        for i, effect in enumerate(rng.normal(0, 2, 12))
        for j in range(3)
    ]
    frame = pd.DataFrame(rows)
    interval = hierarchical_bootstrap(frame, ["fact", "wording"], "value", draws=4_000)
    low, high = naive_bootstrap(frame, 1_500, rng)
    assert interval.estimate == pytest.approx(frame.groupby("fact")["value"].mean().mean())
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.15)
    assert "given the seeds" in interval.method
    again = hierarchical_bootstrap(frame, ["fact", "wording"], "value", draws=4_000)
    assert again == interval


def test_bootstrap_does_not_touch_the_global_generator():
    frame = pd.DataFrame({"fact": ["a", "b", "c"], "value": [1.0, 2.0, 3.0]})
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    hierarchical_bootstrap(frame, ["fact"], "value")
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    with pytest.raises(TooFewClustersError):
        hierarchical_bootstrap(frame[:1], ["fact"], "value")


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_helps_and_keeps_the_order(p):
    adjusted = holm(p)
    assert all(a >= b - 1e-12 for a, b in zip(adjusted, p, strict=True))
    assert [adjusted[i] for i in np.argsort(p, kind="stable")] == sorted(adjusted)


def test_tost_by_hand():
    x = np.array([0.1, -0.1, 0.2, 0.0])
    error = x.std(ddof=1) / 2
    result = tost(x, 0.5)
    assert result.p == pytest.approx(
        max(stats.t.sf((x.mean() + 0.5) / error, 3), stats.t.cdf((x.mean() - 0.5) / error, 3))
    )
    assert (result.p < 0.05) == (result.low > -0.5 and result.high < 0.5)
    with pytest.raises(ValueError, match="above 0"):
        tost(x, 0.0)


@given(values, st.floats(0.1, 50))
def test_tost_agrees_with_its_interval(x, smallest):
    result = tost(x, smallest)
    if np.ptp(x) > 1e-6 and abs(result.p - 0.05) > 1e-9:
        assert (result.p < 0.05) == (result.low > -smallest and result.high < smallest)


def test_fieller_is_the_set_of_ratios_that_a_t_test_keeps():
    rng = np.random.default_rng(2)
    b = rng.normal(5, 1, 8)
    a = 0.4 * b + rng.normal(0, 0.5, 8)
    interval = fieller(a, b)
    assert interval.low < interval.estimate < interval.high
    for bound in (interval.low, interval.high):
        assert stats.ttest_1samp(a - bound * b, 0.0).pvalue == pytest.approx(0.05, abs=1e-6)


def test_a_ratio_over_what_may_be_zero_is_not_defined():
    assert fieller([1.0, 2.0, 3.0], [-1.0, 0.1, 1.0]) is None
