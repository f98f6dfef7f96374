"""Many probes that share their activations, fitted as one problem."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from valueattr._core import ProbeError, fit_logistic

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FittedProbes:
    """Logistic fits of p penalties x m label sets x k weight sets on d features.

    `width` is 1 for two classes and else the number of classes; a class without a training row has coefficients 0 and
    intercept -inf.
    """

    classes: int
    coef: Floats
    """(p, m, k, width, d), on standardised features."""
    intercept: Floats
    """(p, m, k, width)."""
    mean: Floats
    """(k, d): what features are centred on, from the rows with a weight above 0."""
    scale: Floats
    """(k, d): what they are divided by."""
    converged: NDArray[np.bool_]
    """(p, m, k)."""
    n_iter: NDArray[np.uint32]
    """(p, m, k)."""
    objective: Floats
    """(p, m, k): the minimised objective in nats."""

    def decision_function(self, X: ArrayLike) -> Floats:
        """Scores of every fit: (p, m, k, n) for two classes (of class 1), else (p, m, k, n, classes).

        Raises:
            ProbeError: a value is not finite; the message names its row.
        """
        X = np.asarray(X)
        require_finite(X)
        scores = np.empty((*self.intercept.shape[:3], len(X), self.intercept.shape[3]))
        for k, (mean, scale) in enumerate(zip(self.mean, self.scale, strict=True)):
            standardised = (X - mean) / scale
            scores[:, :, k] = (
                standardised @ self.coef[:, :, k].swapaxes(-1, -2) + self.intercept[:, :, k, None]
            )
        return scores[..., 0] if self.classes == 2 else scores


def fit_many(
    X: ArrayLike,
    labels: ArrayLike,
    sample_weight: ArrayLike | None = None,
    l2: ArrayLike = (1e-2,),
    *,
    tol: float = 1e-6,
    max_iter: int = 200,
    standardize: bool = True,
    threads: int | None = None,
) -> FittedProbes:
    """Fit every combination of penalty, label set and weight set on one X.

    Args:
        X: (n, d), read as float32.
        labels: (m, n) class codes from 0. Label sets share their classes: 0 to the largest code.
        sample_weight: (k, n), not negative: one row per fold or bootstrap, 0 for rows left out. None is one set of ones.
        l2: (p,) penalties above 0.
        tol: a fit has converged when its gradient norm is at most `tol` times that of coefficients 0.
        max_iter: L-BFGS steps per fit.
        standardize: to mean 0 and variance 1 over the rows with a weight above 0; a constant feature is only centred.
        threads: at most so many; None is one per core. The result does not depend on it.

    Raises:
        ProbeError: shapes that do not match, a value that is not finite (its row is named), one class in a fit.
    """
    X = np.ascontiguousarray(X, dtype=np.float32)
    codes = np.asarray(labels)
    if codes.ndim != 2 or X.ndim != 2 or codes.shape[1] != len(X):
        raise ProbeError(f"expected X (n, d) and labels (m, n), found {X.shape} and {codes.shape}")
    if codes.dtype.kind not in "iu" or codes.size == 0 or codes.min() < 0 or codes.max() >= 2**16:
        raise ProbeError("expected labels to be integer class codes from 0 to 65535")
    weights = None
    if sample_weight is not None:
        weights = np.ascontiguousarray(sample_weight, dtype=np.float64)
        if weights.ndim != 2 or weights.shape[1] != len(X):
            raise ProbeError(f"expected sample_weight (k, {len(X)}), found {weights.shape}")
    penalties = np.ascontiguousarray(l2, dtype=np.float64)
    fits = fit_logistic(
        X,
        np.ascontiguousarray(codes, dtype=np.uint32),
        weights,
        penalties,
        standardize=standardize,
        tol=tol,
        max_iter=max_iter,
        threads=threads or 0,
    )
    batch = (len(penalties), len(codes), 1 if weights is None else len(weights))
    width = 1 if fits["classes"] == 2 else fits["classes"]
    return FittedProbes(
        classes=fits["classes"],
        coef=fits["coef"].reshape(*batch, width, X.shape[1]),
        intercept=fits["intercept"].reshape(*batch, width),
        mean=fits["mean"].reshape(batch[2], X.shape[1]),
        scale=fits["scale"].reshape(batch[2], X.shape[1]),
        converged=fits["converged"].reshape(batch),
        n_iter=fits["n_iter"].reshape(batch),
        objective=fits["objective"].reshape(batch),
    )


def require_finite(X: NDArray[np.floating]) -> None:
    """Raise a `ProbeError` that names the first row with a NaN or inf."""
    finite = np.isfinite(X)
    if not finite.all():
        row, feature = np.argwhere(~finite)[0]
        found = "NaN" if np.isnan(X[row, feature]) else "inf"
        raise ProbeError(f"X is {found} at row {row}, feature {feature}: drop or repair the row")
