"""Tests on the mean of independent paired differences, and Holm's adjustment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from valueattr.stats._intervals import TooFewClustersError

Alternative = Literal["two-sided", "less", "greater"]

_ROUNDING = 1e-12


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests: `p` for |mean| < `smallest_effect`; `low` and `high` bound the mean at 1 - 2 alpha.

    p: None where all differences are equal, so that nothing is known of their spread.
    """

    p: float | None
    low: float
    high: float
    smallest_effect: float


def p_value(differences: ArrayLike, alternative: Alternative = "two-sided") -> float | None:
    """One-sample t test of the mean against 0; None where all differences are equal, so that it is not defined.

    Raises:
        TooFewClustersError: fewer than two differences.
    """
    x = _enough(differences)
    if _equal(x):
        return None
    return float(stats.ttest_1samp(x, 0.0, alternative=alternative).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given.

    Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Stat. 6. (statsmodels' multipletests
    gives the same, but collects garbage at every call: a tenth of a second, or half a second beside torch.)
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1.0)
    return [float(value) for value in adjusted]


def tost(differences: ArrayLike, smallest_effect: float, alpha: float = 0.05) -> Equivalence:
    """Schuirmann's two one-sided t tests of |mean| < `smallest_effect` (above 0, in the unit of the differences).

    Raises:
        TooFewClustersError: fewer than two differences.
        ValueError: the smallest effect is not above 0.
    """
    if not smallest_effect > 0:
        raise ValueError(f"the smallest effect must be above 0, found {smallest_effect}")
    x = _enough(differences)
    error = x.std(ddof=1) / np.sqrt(len(x))
    half = stats.t.ppf(1 - alpha, len(x) - 1) * error
    low, high = float(x.mean() - half), float(x.mean() + half)
    if _equal(x):
        return Equivalence(None, low, high, smallest_effect)
    above = stats.t.sf((x.mean() + smallest_effect) / error, len(x) - 1)
    below = stats.t.cdf((x.mean() - smallest_effect) / error, len(x) - 1)
    return Equivalence(float(max(above, below)), low, high, smallest_effect)


def _equal(x: np.ndarray[tuple[int], np.dtype[np.float64]]) -> bool:
    """Whether values are the same but for rounding."""
    return bool(np.ptp(x) <= _ROUNDING * np.abs(x).max())


def _enough(differences: ArrayLike) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    x = np.asarray(differences, dtype=np.float64)
    if len(x) < 2:
        raise TooFewClustersError(f"a t test needs two or more values, found {len(x)}")
    return x
