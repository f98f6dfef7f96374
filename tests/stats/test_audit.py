"""The scanner's error: an audit corrects it, and without one it is not covered."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valueattr.stats import (
    TooFewClustersError,
    audit_sample,
    corrected_prevalence,
    raw_prevalence,
)


def scanned(rng, prevalence, sensitivity, specificity, count=1000):
    """Labels with a known prevalence, and the flags of a scanner with planted error rates."""
    labels = rng.random(count) < prevalence
    return labels, np.where(labels, rng.random(count) < sensitivity, rng.random(count) >= specificity)


@pytest.mark.parametrize(("sensitivity", "specificity"), [(0.25, 0.99), (0.6, 0.9), (0.96, 0.7)])
def test_the_corrected_interval_covers_the_truth_and_the_raw_one_does_not(sensitivity, specificity):
    rng = np.random.default_rng(0)
    corrected = raw = 0
    draws, truth = 2000, 0.4
    for draw in range(draws):
        labels, flags = scanned(rng, truth, sensitivity, specificity)
        audited = audit_sample(flags, 50, draw)
        interval = corrected_prevalence(flags, audited, labels[audited])
        corrected += interval.low <= truth <= interval.high
        uncorrected = raw_prevalence(flags)
        raw += uncorrected.low <= truth <= uncorrected.high
    assert 0.93 <= corrected / draws <= 0.97
    assert raw / draws < 0.05


def test_two_models_that_hedge_alike_look_alike_only_when_corrected():
    """As string matching does: it finds nearly all of one model's refusals and a quarter of the other's."""
    rng = np.random.default_rng(1)
    intervals = []
    for sensitivity in (0.96, 0.25):
        labels, flags = scanned(rng, 0.3, sensitivity, 0.99, count=4000)
        audited = audit_sample(flags, 100, 0)
        intervals.append((raw_prevalence(flags), corrected_prevalence(flags, audited, labels[audited])))
    assert intervals[0][0].low > intervals[1][0].high
    assert intervals[0][1].low < intervals[1][1].high


@given(st.integers(0, 10_000), st.integers(5, 80), st.integers(2, 20))
@settings(max_examples=200, deadline=None)
def test_the_estimate_is_the_scanners_share_plus_the_audited_error(seed, count, per_stratum):
    rng = np.random.default_rng(seed)
    labels, flags = scanned(rng, 0.4, 0.6, 0.8, count)
    audited = audit_sample(flags, per_stratum, seed)
    interval = corrected_prevalence(flags, audited, labels[audited])
    weights = np.where(
        flags[audited],
        flags.sum() / max(flags[audited].sum(), 1),
        (~flags).sum() / max((~flags[audited]).sum(), 1),
    )
    error = (weights * (labels[audited].astype(float) - flags[audited])).sum() / count
    assert interval.estimate == pytest.approx(flags.mean() + error)
    assert 0 <= interval.low <= interval.high <= 1


def test_a_whole_audit_leaves_the_sampling_of_responses_alone():
    labels = np.array([True] * 30 + [False] * 70)
    flags = np.roll(labels, 5)
    interval = corrected_prevalence(flags, range(100), labels)
    assert interval.estimate == pytest.approx(0.3)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * (0.3 * 0.7 / 100) ** 0.5, rel=0.05)


def test_the_sample_is_stratified_and_repeats():
    flags = np.arange(200) < 10
    rows = audit_sample(flags, 30, 3)
    assert (flags[rows].sum(), (~flags[rows]).sum()) == (10, 30)
    assert (rows == audit_sample(flags, 30, 3)).all()
    assert (rows != audit_sample(flags, 30, 4)).any()


def test_bad_audits_are_refused():
    flags = [1, 1, 1, 0, 0, 0]
    with pytest.raises(TooFewClustersError, match="1 of 3 unflagged"):
        corrected_prevalence(flags, [0, 1, 3], [1, 1, 0])
    for audited, labels in [([0, 0], [1, 1]), ([0, 9], [1, 1]), ([0, 1], [1]), ([0, 1], [1, 2])]:
        with pytest.raises(ValueError, match=r"different|labels"):
            corrected_prevalence(flags, audited, labels)
    with pytest.raises(ValueError, match="flags"):
        raw_prevalence([])
