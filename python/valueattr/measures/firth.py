"""Logistic regression that stays finite where classes are separated, as a model that always hedges separates them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_expit

_STEPS = 100
_TOLERANCE = 1e-8


@dataclass(frozen=True)
class FirthFit:
    """`coef`: the intercept, then one coefficient per column of x, in log odds per unit."""

    coef: NDArray[np.float64]
    converged: bool


def firth_logit(x: ArrayLike, y: ArrayLike) -> FirthFit:
    """Maximise log-likelihood + log det(information) / 2 for outcomes y (n,) of 0 and 1 on x (n, columns).

    Newton's steps on the modified score, halved while they lose. Firth (1993), Bias reduction of maximum likelihood
    estimates, Biometrika 80; Heinze and Schemper (2002) for separation.

    Raises:
        ValueError: shapes that do not match, y outside {0, 1}, values that are not finite, or columns that are not
            linearly independent of each other and of the intercept.
    """
    columns, outcome = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if columns.ndim != 2 or outcome.shape != (len(columns),):
        raise ValueError(f"expected x (n, columns) and y (n,), found {columns.shape} and {outcome.shape}")
    if not np.isfinite(columns).all() or not np.isin(outcome, (0.0, 1.0)).all():
        raise ValueError("expected finite x, and y of 0 and 1")
    design = np.column_stack([np.ones(len(columns)), columns])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise ValueError("a column of x is constant, or a combination of the others")
    coef = np.zeros(design.shape[1])
    value = _penalised(design, outcome, coef)
    for _ in range(_STEPS):
        step = _newton_step(design, outcome, coef)
        while (moved := _penalised(design, outcome, coef + step)) < value and np.abs(step).max() > _TOLERANCE:
            step = step / 2
        coef, value = coef + step, max(value, moved)
        if np.abs(step).max() <= _TOLERANCE:
            return FirthFit(coef, converged=True)
    return FirthFit(coef, converged=False)


def _information(design: NDArray[np.float64], p: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((design * (p * (1 - p))[:, None]).T @ design)


def _penalised(design: NDArray[np.float64], y: NDArray[np.float64], coef: NDArray[np.float64]) -> float:
    eta = design @ coef
    sign, log_det = np.linalg.slogdet(_information(design, expit(eta)))
    likelihood = (y * log_expit(eta) + (1 - y) * log_expit(-eta)).sum()
    return float(likelihood + log_det / 2) if sign > 0 else -np.inf


def _newton_step(
    design: NDArray[np.float64], y: NDArray[np.float64], coef: NDArray[np.float64]
) -> NDArray[np.float64]:
    p = expit(design @ coef)
    inverse = np.linalg.inv(_information(design, p))
    leverage = p * (1 - p) * np.einsum("ij,jk,ik->i", design, inverse, design)
    return np.asarray(inverse @ (design.T @ (y - p + leverage * (0.5 - p))))
