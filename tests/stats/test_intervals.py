import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from valueattr.stats import (
    TooFewClustersError,
    fieller,
    hierarchical_bootstrap,
    holm,
    p_value,
    t_interval,
    tost,
    variance_share,
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


def nested_mean(tree):
    return np.mean([nested_mean(child) for child in tree]) if isinstance(tree, list) else tree


def naive_resample(tree, rng):
    """A copy of nested lists in which every list is drawn anew, with replacement, from its own children."""
    if not isinstance(tree, list):
        return tree
    return [naive_resample(tree[i], rng) for i in rng.integers(0, len(tree), len(tree))]


def as_frame(tree):
    rows = [
        {"subject": f"s{i}", "fact": j, "wording": k, "value": value}
        for i, subject in enumerate(tree)
        for j, fact in enumerate(subject)
        for k, value in enumerate(fact)
    ]
    return pd.DataFrame(rows)


# Where the variance lies decides what a wrong resampling gets wrong: reusing the inner draws of a cluster that was
# drawn twice, for one, shows only in the lower levels.
@pytest.mark.parametrize("spread", [(2.0, 0.1, 0.1), (0.1, 2.0, 0.1), (0.1, 0.1, 2.0)])
def test_hierarchical_bootstrap_agrees_with_a_naive_loop(spread):
    rng = np.random.default_rng(1)
    tree = []
    for subject in rng.normal(0, spread[0], 8):
        facts = subject + rng.normal(0, spread[1], rng.integers(1, 5))
        tree.append([list(fact + rng.normal(0, spread[2], rng.integers(1, 4))) for fact in facts])
    interval = hierarchical_bootstrap(as_frame(tree), ["subject", "fact", "wording"], "value", draws=10_000)
    low, high = np.quantile([nested_mean(naive_resample(tree, rng)) for _ in range(3_000)], [0.025, 0.975])
    width = high - low
    assert interval.estimate == pytest.approx(nested_mean(tree))
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.06 * width)
    assert interval.n == 8
    assert interval.method == "bootstrap over subjects"


trees = st.lists(
    st.lists(st.lists(st.floats(-10, 10), min_size=1, max_size=3), min_size=1, max_size=3),
    min_size=2,
    max_size=5,
)


@given(trees, st.randoms())
def test_hierarchical_bootstrap_depends_neither_on_the_order_of_rows_nor_on_their_type(tree, random):
    frame = as_frame(tree)
    levels = ["subject", "fact", "wording"]
    interval = hierarchical_bootstrap(frame, levels, "value", draws=50)
    assert interval.estimate == pytest.approx(nested_mean(tree))
    assert frame["value"].min() - 1e-9 <= interval.low <= interval.high <= frame["value"].max() + 1e-9
    order = list(frame.index)
    random.shuffle(order)
    unused = pd.Categorical(frame["subject"], [*sorted(set(frame["subject"])), "never drawn"])
    again = frame.assign(subject=unused).loc[order]
    assert hierarchical_bootstrap(again, levels, "value", draws=50) == interval


def test_hierarchical_bootstrap_in_batches(monkeypatch):
    frame = as_frame([[[1.0, 2.0], [4.0]], [[3.0]], [[0.0, 5.0, 2.0]]])
    monkeypatch.setattr("valueattr.stats._intervals._NODES_AT_ONCE", 64)
    interval = hierarchical_bootstrap(frame, ["subject", "fact", "wording"], "value", draws=2_001)
    assert interval.low < interval.estimate < interval.high


def test_a_level_that_is_null_is_a_cluster_and_not_lost():
    frame = pd.DataFrame({"fact": ["a", "b", None], "value": [1.0, 2.0, 6.0]})
    interval = hierarchical_bootstrap(frame, ["fact"], "value")
    assert (interval.estimate, interval.n) == (3.0, 3)


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
def test_holm_is_bonferroni_stepping_down(p):
    """The largest of the p values up to one's own, each times the number of those that are not below it."""
    expected = [min(1, max(q * sum(r >= q for r in p) for q in p if q <= own)) for own in p]
    assert holm(p) == pytest.approx(expected)


@pytest.mark.parametrize("tests", [1, 2, 7])
def test_holm_is_statsmodels_to_the_bit(tests):
    p = np.random.default_rng(tests).uniform(0, 0.3, tests)
    assert holm(list(p)) == multipletests(p, method="holm")[1].tolist()


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


def test_fieller_covers_at_its_nominal_rate():
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(1_500):
        b = rng.normal(5, 1, 6)
        a = 2 + rng.normal(0, 1, 6) + 0.5 * (b - 5)  # a ratio of means of 2 / 5
        interval = fieller(a, b)
        covered.append(interval.low <= 0.4 <= interval.high)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_ratios_of_what_is_not_paired_are_an_error():
    with pytest.raises(ValueError, match="found 3 over 2"):
        fieller([1.0, 2.0, 3.0], [4.0, 5.0])


def test_the_share_of_variance_between_groups_is_found_where_it_is_known():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(400), 3)
    for share in (0.0, 0.3, 0.8):
        values = rng.normal(0, share**0.5, 400)[groups] + rng.normal(0, (1 - share) ** 0.5, 1200)
        assert variance_share(values, groups) == pytest.approx(share, abs=0.06)
    assert variance_share([1.0, 2.0], [0, 1]) is variance_share([1.0, 2.0], [0, 0]) is None
    assert variance_share([1.0, 1.0, 2.0, 2.0], [0, 0, 1, 1]) == 1.0
    assert variance_share([1.0, 1.0, 1.0, 1.0], [0, 0, 1, 1]) is None


def test_a_one_sided_test_looks_at_its_side():
    x = [-1.0, -2.0, -1.5]
    assert p_value(x, "less") == pytest.approx(p_value(x) / 2)
    assert p_value(x, "greater") == pytest.approx(1 - p_value(x) / 2)


@pytest.mark.parametrize("values", [[0.0] * 3, [-1.0] * 3, [0.3, 0.1 + 0.2, 0.3]])
@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_values_that_do_not_spread_have_no_p(values, alternative):
    assert p_value(values, alternative) is None
    assert tost(values, 0.5).p is None
