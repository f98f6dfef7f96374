"""Accuracy and AUROC of scores from several folds' probes, with bootstrap intervals over groups."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from valueattr import _core
from valueattr.probing._partitions import Bools, Floats, Ints, resampled_groups

Counts = NDArray[np.uint32]

# Counts of resampled groups are drawn, and the latest kept, in chunks of so many: 32 MB.
_CHUNK_COUNTS = 8 << 20
_KEPT_CHUNKS = 8


class Resampling:
    """Groups drawn with replacement, `draws` times: the same for every cell of a seed."""

    def __init__(self, draws: int, threads: int | None = None) -> None:
        self.draws, self.threads = draws, threads
        self._counts = lru_cache(_KEPT_CHUNKS)(resampled_groups)

    def counts(self, groups: int, seed: int) -> Iterator[Counts]:
        """How often each group is drawn: (some of the draws, groups), until all were."""
        size = max(1, _CHUNK_COUNTS // groups)
        for chunk, start in enumerate(range(0, self.draws, size)):
            yield self._counts(groups, min(size, self.draws - start), seed, chunk)

    def measure(self, scores: Floats, codes: Ints, fold: Ints, group: Ints, seed: int) -> dict[str, float]:
        """`accuracy` and `auroc` of scores (n, classes), each with `_low` and `_high`, its 95% interval.

        AUROC is of the rows of each fold, since the scores of different folds' probes share no scale, and averaged over
        folds by their rows. For more than two classes it is the mean over classes, one against the rest, of the log-odds
        of a class by the softmax. A class that a fold's probe has not seen (scores -inf) is left out of that fold's; so is
        one that all or none of its rows are of. NaN if nothing is left.
        """
        hit = scores.argmax(1) == codes
        groups = int(group.max()) + 1
        folds = [np.flatnonzero(fold == f) for f in range(int(fold.max()) + 1)]
        of_group = [np.bincount(group[rows], minlength=groups) for rows in folds]
        totals = np.stack([*of_group, np.bincount(group, hit, groups)], axis=1)  # rows of each fold; hits
        odds = [log_odds(scores[rows]) for rows in folds]

        def of(counts: Counts) -> Floats:
            """Accuracy and AUROC (2, draws) where groups count as often as this."""
            *rows_of, hits = (counts @ totals).T
            rows = np.stack(rows_of, axis=1)
            within = np.stack(
                [
                    _auroc(own, codes[at], group[at], counts, self.threads or 0)
                    for own, at in zip(odds, folds, strict=True)
                ],
                axis=1,
            )
            return np.stack([hits / rows.sum(1), _average(within, rows)])

        estimate = of(np.ones((1, groups), np.uint32))[:, 0]
        draws = np.concatenate([of(counts) for counts in self.counts(groups, seed)], axis=1)
        measured: dict[str, float] = {}
        for name, value, drawn in zip(("accuracy", "auroc"), estimate, draws, strict=True):
            measured |= {name: float(value)} | _interval(name, drawn)
        return measured

    def mean(self, name: str, values: Floats, group: Ints, seed: int) -> dict[str, float]:
        """The mean of values (n,) by its name, with `_low` and `_high`, its 95% interval."""
        groups = int(group.max()) + 1
        sums, rows = np.bincount(group, values, groups), np.bincount(group, minlength=groups)
        drawn = [(counts @ sums) / (counts @ rows) for counts in self.counts(groups, seed)]
        return {name: float(values.mean())} | _interval(name, np.concatenate(drawn))


def _interval(name: str, drawn: Floats) -> dict[str, float]:
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (np.nan, np.nan)
    return {f"{name}_low": float(low), f"{name}_high": float(high)}


def _auroc(odds: Floats, codes: Ints, group: Ints, counts: Counts, threads: int) -> Floats:
    """Mean over classes (draws,) of one against the rest; NaN where there is none to take."""
    binary = odds.shape[1] == 2
    taken = [c for c in ([1] if binary else range(odds.shape[1])) if _two_sided(odds[:, c], codes == c)]
    if not taken:
        return np.full(len(counts), np.nan)
    own = group.astype(np.uint32)
    values = [
        _core.resampled_auroc(np.ascontiguousarray(odds[:, c]), codes == c, own, counts, threads=threads)
        for c in taken
    ]
    return _average(np.stack(values, axis=1), np.ones((len(counts), len(taken))))


def _two_sided(odds: Floats, positive: Bools) -> bool:
    return bool(positive.any() and not positive.all() and np.isfinite(odds).any())


def _average(values: Floats, weights: Floats) -> Floats:
    """Mean over the second axis, by weight, of what is not NaN; NaN if all is."""
    weights = np.where(np.isnan(values), 0.0, weights)
    total = weights.sum(1)
    summed = (np.nan_to_num(values) * weights).sum(1)
    mean: Floats = np.divide(summed, total, out=np.full_like(total, np.nan), where=total > 0)
    return mean


def log_odds(scores: Floats) -> Floats:
    """Of each class against all others by the softmax, (n, classes): for two, the difference of their scores."""
    scores = scores - scores.max(1, keepdims=True)
    likelihood = np.exp(scores)
    with np.errstate(divide="ignore"):
        others = np.log(likelihood.sum(1, keepdims=True) - likelihood)
    # Beside the likeliest class the others may be too little for a difference.
    top = scores.argmax(1)[:, None]
    beside = scores.copy()
    np.put_along_axis(beside, top, -np.inf, axis=1)
    np.put_along_axis(others, top, logsumexp(beside, axis=1, keepdims=True), axis=1)
    odds: Floats = scores - others
    return odds
