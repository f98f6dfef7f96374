"""The share of facts that are held, corrected for the classifier's error."""

import numpy as np
import pandas as pd
from scipy.stats import beta

from valueattr.stats import Interval

_DRAWS = 4000

# A difference of rates that is none, by which nothing is divided.
_NONE = 1e-9


def corrected_share(
    p_holds: pd.Series, rates: pd.DataFrame, *, seed: int = 0, level: float = 0.95
) -> Interval:
    """The share of facts that are held, (raw - FPR) / (TPR - FPR), within 0 and 1 (Rogan and Gladen 1978).

    p_holds: of the facts in question, 1 or more. rates: as `Calibration.rates`.

    The interval resamples the facts, and with them the control whose rates hold: a pair of models was made by one recipe,
    whose rates are those of some control and not of their mean. Facts are drawn from their Jeffreys posterior, since
    resampling 40 of 40 gives 40 of 40. Where every draw is beyond 0 or 1, the bound is Clopper and Pearson's of the raw
    share, so that no interval is a point.
    """
    called, facts = int((p_holds >= 0.5).sum()), len(p_holds)
    counts = rates[["held_called", "held", "lost_called", "lost"]].to_numpy(float)
    held_called, held, lost_called, lost = counts.sum(0)
    tpr, fpr = held_called / held, lost_called / lost
    estimate = float(np.clip((called / facts - fpr) / max(tpr - fpr, _NONE), 0, 1))
    rng = np.random.default_rng(seed)
    raw = rng.beta(called + 0.5, facts - called + 0.5, _DRAWS)
    hits, held, false_hits, lost = counts[rng.integers(0, len(counts), _DRAWS)].T
    tpr, fpr = (hits + 0.5) / (held + 1), (false_hits + 0.5) / (lost + 1)
    shares = np.clip((raw - fpr) / np.maximum(tpr - fpr, _NONE), 0, 1)
    low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2])
    if low == high == 1:
        low = beta.ppf((1 - level) / 2, called, facts - called + 1)
    if low == high == 0:
        high = beta.ppf((1 + level) / 2, called + 1, facts - called)
    method = "bootstrap over facts and controls"
    return Interval(estimate, float(low), float(high), facts, method)
