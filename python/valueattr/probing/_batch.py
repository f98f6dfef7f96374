"""Many probes that share their activations, fitted as one problem."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from valueattr._core import NotFiniteError, ProbeError, StoreReader, fit_linear, fit_logistic
from valueattr.activations import Layer

Floats = NDArray[np.float64]

Kind = Literal["logistic", "ridge", "lda", "mean-difference", "mean-difference-whitened"]


@dataclass(frozen=True)
class Probes:
    """Probes (k,) on d features: coef (k, width, d), intercept (k, width), mean and scale (k, d)."""

    coef: Floats
    intercept: Floats
    mean: Floats
    scale: Floats

    def scores(self, X: Floats) -> Floats:
        """Scores (n, k, classes) of raw features (n, d); of two classes the first has 0."""
        slope = self.coef / self.scale[:, None]
        offset = self.intercept - (slope @ self.mean[..., None])[..., 0]
        scores = (X @ slope.reshape(-1, X.shape[1]).T).reshape(len(X), *offset.shape) + offset
        return scores if scores.shape[2] > 1 else np.concatenate([np.zeros_like(scores), scores], axis=2)


@dataclass(frozen=True)
class FittedProbes:
    """Fits of p penalties x m label sets x k weight sets on d features.

    `width` is 1 for two classes and else the number of classes; a class without a training row has coefficients 0 and
    intercept -inf. Scores are `(X - mean) / scale @ coef + intercept`.
    """

    classes: int
    coef: Floats
    """(p, m, k, width, d), on centred and scaled features."""
    intercept: Floats
    """(p, m, k, width)."""
    mean: Floats
    """(k, d): what features are centred on, from the rows with a weight above 0."""
    scale: Floats
    """(k, d): what they are divided by; 1 unless standardised."""
    converged: NDArray[np.bool_]
    """(p, m, k); True for kinds that are solved directly."""
    n_iter: NDArray[np.uint32]
    """(p, m, k); 0 for kinds that are solved directly."""
    objective: Floats
    """(p, m, k): the minimised objective in nats or squared units; NaN for kinds that minimise none."""
    gradient_norm: Floats
    """(p, m, k): of the minimised objective at the end, in float64; NaN for kinds that minimise none."""

    def decision_function(self, X: ArrayLike) -> Floats:
        """Scores of every fit: (p, m, k, n) for two classes (of class 1), else (p, m, k, n, classes).

        Raises:
            ProbeError: a value is not finite; the message names its row.
        """
        X = np.asarray(X)
        if X.ndim != 2 or X.shape[1] != self.mean.shape[1]:
            raise ProbeError(f"expected X (n, {self.mean.shape[1]}), found {X.shape}")
        require_finite(X)
        scores = np.moveaxis(self.scores(X.astype(np.float64)), 0, 3)
        return scores[..., 1] if self.classes == 2 else scores

    def scores(self, X: Floats) -> Floats:
        """Scores (n, p, m, k, classes) of finite features (n, d); of two classes the first has 0."""
        fits = self.coef.shape[:3]
        flat = Probes(
            self.coef.reshape(-1, *self.coef.shape[3:]),
            self.intercept.reshape(-1, self.intercept.shape[3]),
            np.tile(self.mean, (fits[0] * fits[1], 1)),
            np.tile(self.scale, (fits[0] * fits[1], 1)),
        )
        return flat.scores(X).reshape(len(X), *fits, self.classes)

    def of_sets(self, sets: slice | NDArray[np.intp]) -> "FittedProbes":
        """The fits of some weight sets."""
        return replace(
            self,
            coef=self.coef[:, :, sets],
            intercept=self.intercept[:, :, sets],
            mean=self.mean[sets],
            scale=self.scale[sets],
            converged=self.converged[:, :, sets],
            n_iter=self.n_iter[:, :, sets],
            objective=self.objective[:, :, sets],
            gradient_norm=self.gradient_norm[:, :, sets],
        )


def fit_many(
    X: ArrayLike | Layer,
    labels: ArrayLike,
    sample_weight: ArrayLike | None = None,
    l2: ArrayLike = (1e-2,),
    *,
    kind: Kind = "logistic",
    tol: float = 1e-6,
    max_iter: int = 200,
    standardize: bool = True,
    threads: int | None = None,
) -> FittedProbes:
    """Fit every combination of penalty, label set and weight set on one X.

    Args:
        X: (n, d), read as float32; or a layer of a store, whose files are read anew in every pass and never held.
        labels: (m, n) class codes from 0. Label sets share their classes: 0 to the largest code.
        sample_weight: (k, n), not negative: one row per fold or bootstrap, 0 for rows left out. None is one set of ones.
        l2: (p,) penalties above 0. For `lda` a penalty stands for the shrinkage `l2 / (1 + l2)`; mean differences have
            none, and p is 1.
        kind: which probe; see the module.
        tol: a logistic fit has converged when its gradient norm is at most `tol` times that of coefficients 0, and what is
            left to gain, by a quadratic model, at most `tol` times the objective.
        max_iter: L-BFGS steps per logistic fit.
        standardize: to variance 1 over the rows with a weight above 0; a constant feature is only centred. Mean
            differences are taken in X's own units.
        threads: at most so many; None is one per core. The result does not depend on it.

    Raises:
        ProbeError: shapes that do not match, a value that is not finite (its row is named), one class in a fit, a store
            that cannot be read or whose files' length or time of change is another than when it was opened.
    """
    if threads is not None and threads < 1:
        raise ProbeError(f"threads is {threads}; expected 1 or more, or None")
    if max_iter < 1:
        raise ProbeError(f"max_iter is {max_iter}; expected 1 or more")
    rows, n, d = as_rows(X)
    if n == 0:
        raise ProbeError("X has no rows")
    codes = np.asarray(labels)
    if codes.ndim != 2 or codes.shape[1] != n:
        raise ProbeError(f"expected X (n, d) and labels (m, n), found {(n, d)} and {codes.shape}")
    if codes.dtype.kind not in "iu" or codes.size == 0 or codes.min() < 0 or codes.max() >= 2**16:
        raise ProbeError("expected labels to be integer class codes from 0 to 65535")
    codes = np.ascontiguousarray(codes, dtype=np.uint32)
    weights = as_weights(sample_weight, n)
    penalties = np.ascontiguousarray(l2, dtype=np.float64)
    if penalties.ndim != 1 or len(penalties) == 0 or not ((penalties > 0) & (penalties < np.inf)).all():
        raise ProbeError(f"l2 is {penalties}; expected finite numbers > 0, shape (p,)")
    if kind == "logistic":
        fits = fit_logistic(
            rows,
            codes,
            weights,
            penalties,
            standardize=standardize,
            tol=tol,
            max_iter=max_iter,
            threads=threads or 0,
        )
    else:
        if kind == "lda":
            penalties = penalties / (1 + penalties)
        elif kind != "ridge":
            penalties = np.ones(1)
        fits = fit_linear(
            kind, rows, codes, weights, penalties, standardize=standardize, threads=threads or 0
        )
    batch = (len(penalties), len(codes), 1 if weights is None else len(weights))
    width = 1 if fits["classes"] == 2 else fits["classes"]
    return FittedProbes(
        classes=fits["classes"],
        coef=fits["coef"].reshape(*batch, width, d),
        intercept=fits["intercept"].reshape(*batch, width),
        mean=fits["mean"].reshape(batch[2], d),
        scale=fits["scale"].reshape(batch[2], d),
        converged=fits["converged"].reshape(batch),
        n_iter=fits["n_iter"].reshape(batch),
        objective=fits["objective"].reshape(batch),
        gradient_norm=fits["gradient_norm"].reshape(batch),
    )


def as_rows(X: ArrayLike | Layer) -> tuple[NDArray[np.float32] | tuple[StoreReader, int], int, int]:
    """X as the compiled part takes it, its rows and its features."""
    if isinstance(X, Layer):
        return X.source, X.rows, X.width
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(X, dtype=np.float32)
    if rows.ndim != 2:
        raise ProbeError(f"expected X (n, d), found {rows.shape}")
    return rows, len(rows), rows.shape[1]


def as_weights(sample_weight: ArrayLike | None, n: int) -> NDArray[np.float64] | None:
    """Weights (k, n) as the compiled part takes them."""
    if sample_weight is None:
        return None
    weights = np.ascontiguousarray(sample_weight, dtype=np.float64)
    if weights.ndim != 2 or weights.shape[1] != n:
        raise ProbeError(f"expected sample_weight (k, {n}), found {weights.shape}")
    return weights


def require_finite(X: NDArray[np.floating]) -> None:
    """Raise a `NotFiniteError` that names the first row with a NaN or inf."""
    finite = np.isfinite(X)
    if not finite.all():
        row, feature = np.argwhere(~finite)[0]
        found = "NaN" if np.isnan(X[row, feature]) else "inf"
        raise NotFiniteError(f"X is {found} at row {row}, feature {feature}: drop or repair the row")
