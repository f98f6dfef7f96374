"""Logistic regression that stays finite where a column separates the classes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit

_TOLERANCE = 1e-8
# BFGS stops where rounding hides any further gain: near enough, if the score is this small.
_GRADIENT = 1e-5


@dataclass(frozen=True)
class FirthFit:
    """`coef`: the intercept, then one coefficient per column of x, in log odds per unit."""

    coef: NDArray[np.float64]
    converged: bool


def firth_logit(x: ArrayLike, y: ArrayLike) -> FirthFit:
    """Maximise log-likelihood + log det(information) / 2 for outcomes y (n,) of 0 and 1 on x (n, columns).

    By BFGS: Newton's steps on the modified score can crawl or circle in small samples. Firth (1993), Bias reduction of
    maximum likelihood estimates, Biometrika 80; Heinze and Schemper (2002) for separation.

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
    # In the coordinates of Q the information at no effect is I / 4, so BFGS starts well scaled.
    q, r = np.linalg.qr(design)
    start = np.zeros(q.shape[1])
    found = minimize(_loss, start, args=(q, outcome), method="BFGS", jac=True, tol=_TOLERANCE)
    return FirthFit(np.linalg.solve(r, found.x), converged=bool(np.abs(found.jac).max() <= _GRADIENT))


def _loss(
    coef: NDArray[np.float64], design: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Minus the penalised log-likelihood, and its gradient: minus the modified score."""
    eta = design @ coef
    p = expit(eta)
    information = (design * (p * (1 - p))[:, None]).T @ design
    sign, log_det = np.linalg.slogdet(information)
    if sign <= 0:
        return np.inf, np.zeros_like(coef)
    leverage = p * (1 - p) * np.einsum("ij,ji->i", design, np.linalg.solve(information, design.T))
    value = (y * log_expit(eta) + (1 - y) * log_expit(-eta)).sum() + log_det / 2
    return -float(value), -(design.T @ (y - p + leverage * (0.5 - p)))
