"""Probes as scikit-learn estimators."""

import copy
import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from valueattr._core import ProbeError
from valueattr.measures.probing._batch import Floats, fit_many, require_finite


class _LinearProbe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Scores `((X - mean_) / scale_) @ coef_.T + intercept_`."""

    classes_: NDArray[Any]
    coef_: Floats
    intercept_: Floats
    mean_: Floats
    scale_: Floats

    def decision_function(self, X: ArrayLike) -> Floats:
        """Scores (n,) of the second of two classes, or (n, classes).

        Raises:
            ProbeError: a value is not finite; the message names its row.
        """
        check_is_fitted(self)
        rows: Floats = validate_data(self, X, reset=False, dtype=np.float64, ensure_all_finite=False)
        require_finite(rows)
        scores: Floats = (rows - self.mean_) / self.scale_ @ self.coef_.T + self.intercept_
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The class with the highest score, shape (n,)."""
        scores = self.decision_function(X)
        codes = (scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)
        predicted: NDArray[Any] = self.classes_[codes]
        return predicted

    def recentred(self, mean: ArrayLike) -> Self:
        """A copy that subtracts another mean (d,): to read a model's activations by a probe fitted on another's.

        Raises:
            ProbeError: `mean` is not a finite vector with one value per feature.
        """
        check_is_fitted(self)
        centre = np.array(mean, dtype=np.float64)
        if centre.shape != self.mean_.shape or not np.isfinite(centre).all():
            raise ProbeError(
                f"expected a finite mean of shape {self.mean_.shape}, found shape {centre.shape}"
            )
        probe = copy.copy(self)
        probe.mean_ = centre
        return probe

    def _validated(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None
    ) -> tuple[NDArray[np.float32], NDArray[np.intp], Floats]:
        """The training rows (weight above 0) with class codes and weights, all finite; sets `classes_`."""
        with np.errstate(over="ignore"):
            rows, targets = validate_data(self, X, y, dtype=np.float32, order="C", ensure_all_finite=False)
        require_finite(rows)
        check_classification_targets(targets)
        weights = _check_sample_weight(sample_weight, rows, dtype=np.float64)
        if (weights < 0).any():
            row = int(weights.argmin())
            raise ProbeError(f"sample_weight is {weights[row]} at row {row}; expected a number >= 0")
        training = weights > 0
        if not training.all():
            rows, targets, weights = rows[training], targets[training], weights[training]
        self.classes_, codes = np.unique(targets, return_inverse=True)
        if len(self.classes_) < 2:
            found = f"one class ({self.classes_[0]!r})" if len(self.classes_) else "no rows"
            raise ProbeError(f"expected two classes or more among the rows of weight above 0, found {found}")
        return rows, codes, weights


class LogisticProbe(_LinearProbe):
    """L2-regularised logistic regression on standardised features, binary or multinomial.

    Attributes after `fit`, for d features: `classes_`; `coef_` (1, d) for two classes, else (classes, d), and
    `intercept_`, both on standardised features; `mean_` and `scale_` (d,) of the rows with a weight above 0;
    `converged_`; `n_iter_`; `n_features_in_`.

    Args:
        l2: penalty on |W|^2 / 2 beside the mean log-loss.
        tol: converged when the gradient norm is at most `tol` times that of coefficients 0.
        max_iter: L-BFGS steps; ending there without convergence warns.
        standardize: to mean 0 and variance 1 over the training rows; a constant feature is only centred.
    """

    def __init__(
        self, l2: float = 1e-2, tol: float = 1e-6, max_iter: int = 200, standardize: bool = True
    ) -> None:
        self.l2 = l2
        self.tol = tol
        self.max_iter = max_iter
        self.standardize = standardize

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit on X (n, d), read as float32, and y (n,); a row of weight 0 is as if it were not there.

        Raises:
            ProbeError: fewer than two classes, a value that is not finite (its row is named), a bad weight or penalty.
        """
        X, codes, weights = self._validated(X, y, sample_weight)
        fits = fit_many(
            X,
            codes[None],
            weights[None],
            [self.l2],
            tol=self.tol,
            max_iter=self.max_iter,
            standardize=self.standardize,
        )
        self.coef_ = fits.coef[0, 0, 0]
        self.intercept_ = fits.intercept[0, 0, 0]
        self.mean_, self.scale_ = fits.mean[0], fits.scale[0]
        self.converged_ = bool(fits.converged[0, 0, 0])
        self.n_iter_ = int(fits.n_iter[0, 0, 0])
        if not self.converged_:
            warnings.warn(
                f"no convergence to tol={self.tol} in {self.n_iter_} steps: raise max_iter, l2 or tol",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Class probabilities (n, classes)."""
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return np.column_stack([expit(-scores), expit(scores)])
        probabilities: Floats = softmax(scores, axis=1)
        return probabilities


class MeanDifferenceProbe(_LinearProbe):
    """The nearest class mean; of two classes, the projection on the difference of their means from the midpoint.

    Attributes after `fit`: as `LogisticProbe` with `scale_` 1 and `mean_` the mean of the class means, without
    `converged_` and `n_iter_`.

    Args:
        whiten: measure distance by the inverse of the pooled within-class covariance (its pseudo-inverse where it is
            singular): linear discriminant analysis with equal priors.
    """

    def __init__(self, whiten: bool = False) -> None:
        self.whiten = whiten

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit on X (n, d), read as float32, and y (n,).

        Raises:
            ProbeError: fewer than two classes, a value that is not finite (its row is named), a negative weight.
        """
        X, codes, weights = self._validated(X, y, sample_weight)
        member = np.zeros((len(self.classes_), len(X)))
        member[codes, np.arange(len(X))] = weights
        means = member @ X / member.sum(axis=1, keepdims=True)
        self.mean_, self.scale_ = means.mean(axis=0), np.ones(X.shape[1])
        metric = _within_precision(X - means[codes], weights) if self.whiten else np.eye(X.shape[1])
        means -= self.mean_
        coef = means @ metric
        intercept = -(coef * means).sum(axis=1) / 2
        binary = len(self.classes_) == 2
        self.coef_ = coef[1:] - coef[:1] if binary else coef
        self.intercept_ = intercept[1:] - intercept[:1] if binary else intercept
        return self


def _within_precision(residuals: Floats, weights: Floats) -> Floats:
    covariance = (residuals.T * weights) @ residuals / weights.sum()
    # Directions below f32 resolution hold rounding, not data.
    cutoff = len(covariance) * float(np.finfo(np.float32).eps)
    precision: Floats = np.linalg.pinv(covariance, rcond=cutoff, hermitian=True)
    return precision
