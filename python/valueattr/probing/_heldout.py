"""Probes of one layer for one label, each read only on rows that it was not trained on.

Probes that leave out one fold and probes that leave out two are one batch of fits. The penalty for the probe that leaves
out fold a is the one that does best on each fold b when a and b are both left out, so nothing of a has a say in it: with
F folds F (F - 1) / 2 fits do for every choice, where a nested cross-validation takes F (F - 1).

Activations are read in blocks, once to choose and once to score; what a probe sees of them is a product with float64
coefficients.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from valueattr._core import NotFiniteError, ProbeError
from valueattr.activations import ActivationStore, Layer
from valueattr.probing._batch import FittedProbes, Kind, Probes, fit_many, require_finite
from valueattr.probing._partitions import Floats, Ints, Partition, leave_one_out, leave_two_out

KINDS: tuple[Kind, ...] = get_args(Kind)
PENALISED = ("logistic", "ridge", "lda")

TOLERANCE = 1e-6
"""Of logistic fits, as `fit_many` has it."""

_BLOCK_VALUES = 4 << 20  # of activations in memory at once: 32 MB as float64
_MOST_BLOCK_ROWS = 8192


class Activations(Protocol):
    """Some rows (n,) of one layer, on the disk or in memory."""

    @property
    def rows(self) -> Ints:
        """Which rows of the source they are, (n,)."""
        ...

    @property
    def source(self) -> tuple[Layer | NDArray[np.float32], int]:
        """What probes are fitted on, and how many rows it has."""
        ...

    def blocks(self) -> Iterator[tuple[Ints, Floats]]:
        """All rows in their order: which of the n they are, and their states (block, d).

        Raises:
            ProbeError: a value is not finite.
        """
        ...


@dataclass(frozen=True)
class Held:
    """Rows (n, d) that are held in memory."""

    X: NDArray[np.float32]

    @property
    def rows(self) -> Ints:
        """All of them, (n,)."""
        return np.arange(len(self.X))

    @property
    def source(self) -> tuple[NDArray[np.float32], int]:
        """The rows themselves."""
        return self.X, len(self.X)

    def blocks(self) -> Iterator[tuple[Ints, Floats]]:
        """All rows at once.

        Raises:
            ProbeError: a value is not finite; names its row.
        """
        require_finite(self.X)
        yield self.rows, self.X.astype(np.float64)


@dataclass(frozen=True)
class Stored:
    """Some rows (n,) of one layer of a store."""

    store: ActivationStore
    layer: int
    rows: Ints

    @property
    def source(self) -> tuple[Layer, int]:
        """The layer, whose rows stay on the disk."""
        return self.store.layer(self.layer), self.store.rows

    def blocks(self) -> Iterator[tuple[Ints, Floats]]:
        """All rows in their order: which of the n they are, and their states (block, d).

        Raises:
            ProbeError: a value is not finite; names layer and text.
        """
        size = max(1, min(_MOST_BLOCK_ROWS, _BLOCK_VALUES // self.store.width))
        for start in range(0, len(self.rows), size):
            rows = self.rows[start : start + size]
            states = self.store.gather(rows, [self.layer])[self.layer]
            finite = np.isfinite(states)
            if not finite.all():
                row, feature = np.argwhere(~finite)[0]
                source = self.store.index().slice(int(rows[row]), 1).to_pylist()[0]
                token = "" if source["token"] is None else f", token {source['token']}"
                found = "NaN" if np.isnan(states[row, feature]) else "inf"
                raise ProbeError(
                    f"layer {self.layer}, text {source['id']!r}{token}: feature {feature} is {found}"
                )
            yield np.arange(start, start + len(rows)), states.astype(np.float64)


@dataclass(frozen=True)
class Target:
    """A label to be read: `codes` (n,) of its `classes`, and what each row weighs in the fits, (n,).

    A row of weight 0 trains nothing, and is read like any other.

    balanced: whether classes weigh the same in each fit, however many rows they have in it.
    """

    codes: Ints
    classes: int
    weight: Floats
    balanced: bool = False

    def weights(self, partition: Partition) -> Floats:
        """What each row weighs for each set (k, n), whether it is trained on or read."""
        weights = np.tile(self.weight, (len(partition.trains), 1))
        if self.balanced:
            totals = np.stack(
                [np.bincount(self.codes, row, self.classes) for row in weights * partition.training()]
            )
            share = totals.sum(1, keepdims=True) / (totals > 0).sum(1, keepdims=True)
            weights *= np.divide(share, totals, out=np.zeros_like(totals), where=totals > 0)[:, self.codes]
        return weights


@dataclass(frozen=True)
class Convergence:
    """How many fits reached the tolerance, and the largest gradient norm among them (NaN if nothing was minimised)."""

    fits: int
    converged: int
    gradient_norm: float

    @classmethod
    def of(cls, fits: Sequence[FittedProbes]) -> "Convergence":
        """Of all fits together."""
        return cls(
            sum(fit.converged.size for fit in fits),
            sum(int(fit.converged.sum()) for fit in fits),
            max(float(fit.gradient_norm.max()) for fit in fits),
        )

    def __add__(self, other: "Convergence") -> "Convergence":
        return Convergence(
            self.fits + other.fits,
            self.converged + other.converged,
            max(self.gradient_norm, other.gradient_norm),
        )


@dataclass(frozen=True)
class CrossFit:
    """The probes that leave out each fold of one seed, at the penalties chosen for them.

    fold: (n,) of each row. weights: (folds, n) what each row weighs in the training of each. l2: (folds,), None for a
    kind without one. convergence: of all fits of the seed, those to choose by included.
    """

    probes: Probes
    fold: Ints
    weights: Floats
    l2: Floats | None
    convergence: Convergence


def cross_fit(
    target: Target,
    activations: Activations,
    kind: Kind,
    l2: Sequence[float],
    folds: Sequence[Ints],
    threads: int | None = None,
    tol: float = TOLERANCE,
) -> list[CrossFit]:
    """Fit and choose for every seed, each with its `folds` (n,).

    Penalties are chosen by the log-loss of the rows left out (`mixed_nats`) for logistic probes and by their accuracy for
    others, weighted as in the fits; of equals the strongest.

    Raises:
        ProbeError: a value that is not finite, named by layer and text.
    """
    if kind != "logistic" and len(folds) > 1:
        # What follows from moments takes those of each fold once; folds of several seeds have none in common.
        return [
            fit for fold in folds for fit in cross_fit(target, activations, kind, l2, [fold], threads, tol)
        ]
    path = strong_to_weak(l2) if kind in PENALISED else np.array(l2[:1], np.float64)
    outer = [leave_one_out(fold) for fold in folds]
    inner = [leave_two_out(fold) for fold in folds] if len(path) > 1 else []
    partitions = [*outer, *inner]
    weights = [target.weights(partition) for partition in partitions]
    fits = fit_partitions(target, activations, kind, path, partitions, weights, threads)
    first = len(outer)
    losses = held_out_losses(
        target,
        activations,
        partitions[first:],
        weights[first:],
        fits[first:],
        probabilistic=kind == "logistic",
    )
    fitted = []
    for seed, (fold, partition) in enumerate(zip(folds, outer, strict=True)):
        fit, of_seed = fits[seed], fits[seed::first]
        chosen = _chosen(losses[seed], inner[seed]) if inner else np.zeros(len(partition.trains), np.intp)
        at = np.arange(len(chosen))
        fitted.append(
            CrossFit(
                Probes(fit.coef[chosen, 0, at], fit.intercept[chosen, 0, at], fit.mean, fit.scale),
                fold,
                weights[seed] * partition.training(),
                path[chosen] if kind in PENALISED else None,
                Convergence.of(of_seed),
            )
        )
    return fitted


def held_out_scores(activations: Activations, fitted: Sequence[CrossFit], classes: int) -> list[Floats]:
    """Per seed the scores (n, classes) of every row by the probe that left its fold out."""
    scores = [np.empty((len(activations.rows), classes)) for _ in fitted]
    for rows, X in activations.blocks():
        for out, one in zip(scores, fitted, strict=True):
            for fold in np.unique(one.fold[rows]):
                own = one.fold[rows] == fold
                out[rows[own]] = _taken(one.probes, [fold]).scores(X[own])[:, 0]
    return scores


def strong_to_weak(l2: Sequence[float]) -> Floats:
    """Penalties in the order in which the first of equals is chosen."""
    return np.sort(np.asarray(l2, np.float64))[::-1]


def recentred(activations: Activations, fitted: Sequence[CrossFit]) -> list[CrossFit]:
    """The same probes, each centred on the mean of its training rows in these activations."""
    sums = [np.zeros_like(one.probes.mean) for one in fitted]
    for rows, X in activations.blocks():
        for total, one in zip(sums, fitted, strict=True):
            total += one.weights[:, rows] @ X
    return [
        replace(one, probes=replace(one.probes, mean=total / one.weights.sum(1, keepdims=True)))
        for total, one in zip(sums, fitted, strict=True)
    ]


def mixed_nats(scores: Floats, codes: Ints, training_rows: NDArray[np.int64]) -> Floats:
    """Log-loss (n, p, k) of softmax probabilities mixed with the uniform, which weighs 1 / (training rows + 1).

    So a class that a probe has not seen costs more the more rows it has seen without it, but never infinitely much.

    scores: (n, p, k, classes). codes: (n,). training_rows: (k,).
    """
    uniform = 1 / (training_rows + 1)
    own = np.take_along_axis(log_softmax(scores, axis=-1), codes[:, None, None, None], axis=-1)[..., 0]
    nats: Floats = -np.logaddexp(np.log1p(-uniform) + own, np.log(uniform / scores.shape[-1]))
    return nats


def fit_partitions(
    target: Target,
    activations: Activations,
    kind: Kind,
    path: Floats,
    partitions: Sequence[Partition],
    weights: Sequence[Floats],
    threads: int | None,
    tol: float = TOLERANCE,
) -> list[FittedProbes]:
    """Fit all sets of all partitions as one batch; the fits of each partition (p, 1, k).

    weights: per partition, what each row weighs for each of its sets (k, n).

    Raises:
        ProbeError: a value that is not finite, named by layer and text, or what `fit_many` cannot fit.
    """
    rows, (source, size) = activations.rows, activations.source
    labels = np.zeros((1, size), np.int64)
    labels[0, rows] = target.codes
    training = np.zeros((sum(len(partition.trains) for partition in partitions), size))
    training[:, rows] = np.concatenate(
        [w * partition.training() for w, partition in zip(weights, partitions, strict=True)]
    )
    try:
        fits = fit_many(source, labels, training, path, kind=kind, tol=tol, threads=threads)
    except NotFiniteError:
        for _ in activations.blocks():  # which name the row by its text
            pass
        raise
    ends = np.cumsum([0, *(len(partition.trains) for partition in partitions)])
    return [fits.of_sets(slice(start, end)) for start, end in pairwise(ends)]


def held_out_losses(
    target: Target,
    activations: Activations,
    partitions: Sequence[Partition],
    weights: Sequence[Floats],
    fits: Sequence[FittedProbes],
    *,
    probabilistic: bool,
) -> list[Floats]:
    """Per partition the loss (p, k, parts) of the rows of each part, summed by weight, for the sets that read it.

    probabilistic: in nats (`mixed_nats`); else 1 for a miss.
    """
    if not partitions:
        return []
    penalties = len(fits[0].coef)
    losses = [np.zeros((penalties, *partition.reads.shape)) for partition in partitions]
    seen = [partition.training().sum(1) for partition in partitions]
    for rows, X in activations.blocks():
        for loss, partition, weight, fit, trained in zip(
            losses, partitions, weights, fits, seen, strict=True
        ):
            for part in np.flatnonzero(partition.reads.any(0)):
                sets = np.flatnonzero(partition.reads[:, part])
                own = partition.part[rows] == part
                codes = target.codes[rows[own]]
                scores = fit.of_sets(sets).scores(X[own])[:, :, 0]
                if probabilistic:
                    of_row = mixed_nats(scores, codes, trained[sets])
                else:
                    of_row = (scores.argmax(-1) != codes[:, None, None]).astype(np.float64)
                loss[:, sets, part] += np.einsum("npk,kn->pk", of_row, weight[np.ix_(sets, rows[own])])
    return losses


def _taken(probes: Probes, at: Sequence[int]) -> Probes:
    return Probes(probes.coef[at], probes.intercept[at], probes.mean[at], probes.scale[at])


def _chosen(loss: Floats, inner: Partition) -> NDArray[np.intp]:
    """Which penalty is best for the probe that leaves out each fold, (folds,), from strong to weak."""
    total = np.zeros((len(loss), inner.reads.shape[1]))
    for k, (a, b) in enumerate(np.argwhere(inner.reads)[:, 1].reshape(-1, 2)):
        total[:, a] += loss[:, k, b]
        total[:, b] += loss[:, k, a]
    chosen: NDArray[np.intp] = total.argmin(0)
    return chosen
