"""Whether intervals and tests keep what they promise, by simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from valueattr.plan._evaluation import bootstrap_over_subjects, unit_of_seeds, units
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


@pytest.mark.parametrize(("seeds", "starts"), [(3, 2), (8, 4), (8, 3)])
@pytest.mark.parametrize("between", [0.0, 1.0])
def test_the_interval_covers_where_seeds_share_start_models(seeds, starts, between):
    """Its units are the means of start models."""
    rng = np.random.default_rng([seeds, starts, int(between)])
    of_seed = np.array(unit_of_seeds(range(seeds), starts))
    x = seed_means(rng, DRAWS, seeds, 0.2) + rng.normal(0, between, (DRAWS, starts))[:, of_seed]
    intervals = [t_interval(units(dict(enumerate(values)), starts)) for values in x]
    assert {i.n for i in intervals} == {starts}
    covered = np.mean([i.low <= 0.7 <= i.high for i in intervals])
    assert 0.93 <= covered <= 0.97


def test_taking_seeds_that_share_a_start_model_for_independent_does_not_cover():
    rng = np.random.default_rng(0)
    x = seed_means(rng, DRAWS, 8, 0.2) + np.repeat(rng.normal(0, 1.0, (DRAWS, 2)), 4, axis=1)
    assert np.mean([i.low <= 0.7 <= i.high for i in map(t_interval, x)]) < 0.8


@pytest.mark.parametrize("seeds", [3, 8])
def test_the_bootstrap_over_subjects_covers_given_the_seeds(seeds, monkeypatch):
    """Two facts of a subject share most of their error; the seeds' own effects are fixed."""
    monkeypatch.setattr("valueattr.plan._evaluation._DRAWS", 400)
    rng = np.random.default_rng(seeds)
    effects = rng.normal(0.7, 1.0, seeds)
    facts = [[f"{seed}-{fact}" for fact in range(FACTS)] for seed in range(seeds)]
    subjects = {
        name: name[: name.index("-") + 1] + str(fact // 2) for own in facts for fact, name in enumerate(own)
    }
    covered = 0
    for _ in range(DRAWS):
        pairs = {}
        for seed, (effect, names) in enumerate(zip(effects, facts, strict=True)):
            of_subject = np.repeat(rng.normal(0, 1.0, FACTS // 2), 2)
            pairs[seed] = [pd.Series(effect + of_subject + rng.normal(0, 0.3, FACTS), index=names)]
        interval = bootstrap_over_subjects(pairs, subjects)
        covered += interval.low <= effects.mean() <= interval.high
    assert 0.93 <= covered / DRAWS <= 0.97


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
