"""Whether intervals and tests keep what they promise, by simulation."""

import numpy as np
import pytest
from scipy import stats

from valueattr.stats import fieller, holm, p_value, t_interval, tost

DRAWS = 2000
FACTS = 32
SEEDS = (3, 8, 20)
# Standard deviation between seeds, against 1 between facts.
SPREADS = {"zero": 0.0, "small": 0.1, "dominant": 3.0}


def seed_means(rng, draws, seeds, spread, mean=0.7):
    """Paired differences as a run has them: a mean over facts per seed, shape (draws, seeds)."""
    facts = rng.normal(mean, 1.0, (draws, seeds, FACTS)).mean(2)
    return facts + rng.normal(0.0, spread, (draws, seeds))


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("spread", SPREADS)
def test_the_headline_interval_covers(seeds, spread):
    rng = np.random.default_rng([seeds, len(spread)])
    intervals = [t_interval(x) for x in seed_means(rng, DRAWS, seeds, SPREADS[spread])]
    covered = np.mean([i.low <= 0.7 <= i.high for i in intervals])
    assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize("seeds", SEEDS)
def test_fiellers_interval_covers(seeds):
    rng = np.random.default_rng(seeds)
    below = seed_means(rng, DRAWS, seeds, 0.1, mean=5.0)
    above = 0.4 * below + rng.normal(0, 0.2, below.shape)
    intervals = [fieller(a, b) for a, b in zip(above, below, strict=True)]
    assert all(interval is not None for interval in intervals)
    assert 0.93 <= np.mean([i.low <= 0.4 <= i.high for i in intervals]) <= 0.97


def test_a_percentile_bootstrap_over_three_seeds_does_not():
    """Why it is not the headline."""
    rng = np.random.default_rng(0)
    x = seed_means(rng, DRAWS, 3, 1.0)
    resampled = x[np.arange(DRAWS)[:, None, None], rng.integers(0, 3, (DRAWS, 500, 3))].mean(2)
    low, high = np.quantile(resampled, [0.025, 0.975], axis=1)
    assert np.mean((low <= 0.7) & (high >= 0.7)) < 0.9


@pytest.mark.parametrize("seeds", SEEDS)
def test_holm_keeps_the_error_of_a_family(seeds):
    rng = np.random.default_rng(seeds)
    draws = 500  # of families of seven
    families = seed_means(rng, draws * 7, seeds, 0.1, mean=0.0).reshape(draws, 7, seeds)
    p_values = stats.ttest_1samp(families, 0.0, axis=-1).pvalue  # all at once
    for family, p in zip(families[:10], p_values, strict=False):
        assert [p_value(x) for x in family] == pytest.approx(p, rel=1e-12)
    wrong = np.mean([min(holm(p.tolist())) < 0.05 for p in p_values])
    assert wrong <= 0.05 + 2 * (0.05 * 0.95 / draws) ** 0.5


@pytest.mark.parametrize("seeds", SEEDS)
def test_equivalence_is_rarely_claimed_at_its_boundary(seeds):
    rng = np.random.default_rng(seeds)
    claimed = np.mean([tost(x, 0.5).p < 0.05 for x in seed_means(rng, DRAWS, seeds, 0.05, mean=0.5)])
    assert claimed <= 0.05 + 2 * (0.05 * 0.95 / DRAWS) ** 0.5
