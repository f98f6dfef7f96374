"""How many of N items have a property that an imperfect detector flags, corrected by an audit (prediction-powered).

The flag f is known of all N items, the true label y only of an audit sample, which is stratified on the flag. The
estimate is mean_N f + mean_n (y - f), with the audited weighted by their stratum: Angelopoulos et al. (2023),
Prediction-powered inference, Science 382.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from valueattr.stats._intervals import Interval, TooFewClustersError


def audit_sample(flags: ArrayLike, per_stratum: int, seed: int) -> NDArray[np.intp]:
    """Indices of up to `per_stratum` flagged and as many unflagged items, sorted, from a generator of its own."""
    flagged = _flags(flags)
    rng = np.random.default_rng(seed)
    drawn = [
        rng.choice(rows, min(per_stratum, len(rows)), replace=False)
        for rows in (np.flatnonzero(flagged), np.flatnonzero(~flagged))
    ]
    return np.asarray(np.sort(np.concatenate(drawn)), dtype=np.intp)


def raw_prevalence(flags: ArrayLike, level: float = 0.95) -> Interval:
    """The share of flagged items with Wilson's interval, which knows nothing of the detector's error."""
    flagged = _flags(flags)
    low, high = proportion_confint(int(flagged.sum()), len(flagged), alpha=1 - level, method="wilson")
    return Interval(float(flagged.mean()), float(low), float(high), len(flagged), "Wilson")


def corrected_prevalence(
    flags: ArrayLike, audited: Sequence[int] | NDArray[np.intp], labels: ArrayLike, level: float = 0.95
) -> Interval:
    """The share of items whose true label is 1.

    Its variance is that of drawing N labels from a population, plus that of auditing n_s of the N_s items of each stratum
    without replacement; rates in it are smoothed by one 0 and one 1 per stratum, so that an audit that found no error
    does not claim to have none.

    Args:
        flags: (N,) of 0 and 1.
        audited: (n,) indices of items.
        labels: (n,) of 0 and 1.
        level: of the interval.

    Raises:
        TooFewClustersError: a stratum has fewer than two audited items, and is not audited whole.
        ValueError: labels outside {0, 1}, as many labels as no audit has, or an index out of range or repeated.
    """
    flagged, rows = _flags(flags), np.asarray(audited, dtype=np.intp)
    y = np.asarray(labels, dtype=np.float64)
    if y.shape != rows.shape or not np.isin(y, (0.0, 1.0)).all():
        raise ValueError(f"expected {len(rows)} labels of 0 and 1, one for each audited item")
    if len(np.unique(rows)) < len(rows) or (len(rows) and not 0 <= rows.min() <= rows.max() < len(flagged)):
        raise ValueError(f"audited indices must be different and below {len(flagged)}")
    estimate = smoothed = audit_variance = 0.0
    for stratum in (True, False):
        size, own = int((flagged == stratum).sum()), y[flagged[rows] == stratum]
        if size == 0:
            continue
        if len(own) < min(2, size):
            raise TooFewClustersError(
                f"{len(own)} of {size} {'flagged' if stratum else 'unflagged'} items were audited: label two or more"
            )
        weight, rate = size / len(flagged), (own.sum() + 1) / (len(own) + 2)
        estimate += weight * float(own.mean())
        smoothed += weight * float(rate)
        audit_variance += weight**2 * float(rate * (1 - rate)) / len(own) * (1 - len(own) / size)
    variance = smoothed * (1 - smoothed) / len(flagged) + audit_variance
    half = float(stats.norm.ppf((1 + level) / 2)) * variance**0.5
    low, high = max(0.0, estimate - half), min(1.0, estimate + half)
    return Interval(estimate, low, high, len(rows), "prediction-powered")


def _flags(flags: ArrayLike) -> NDArray[np.bool_]:
    values = np.asarray(flags)
    if values.ndim != 1 or not len(values) or not np.isin(values, (0, 1)).all():
        raise ValueError("expected flags (N,) of 0 and 1, at least one")
    return np.asarray(values, dtype=np.bool_)
