"""Probes as scikit-learn estimators."""

import copy
import warnings
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from valueattr._core import ProbeError, fit_linear, fit_ridge
from valueattr.probing._batch import Floats, Kind, fit_many, require_finite


class _Linear(BaseEstimator):  # type: ignore[misc]
    """Scores `((X - mean_) / scale_) @ coef_.T + intercept_`."""

    coef_: Floats
    intercept_: Floats
    mean_: Floats
    scale_: Floats

    def _scores(self, X: ArrayLike) -> Floats:
        check_is_fitted(self)
        rows: Floats = validate_data(self, X, reset=False, dtype=np.float64, ensure_all_finite=False)
        require_finite(rows)
        scores: Floats = (rows - self.mean_) / self.scale_ @ self.coef_.T + self.intercept_
        return scores


class _Classifier(ClassifierMixin, _Linear):  # type: ignore[misc]
    classes_: NDArray[Any]

    def decision_function(self, X: ArrayLike) -> Floats:
        """Scores (n,) of the second of two classes, or (n, classes).

        Raises:
            ProbeError: a value is not finite; the message names its row.
        """
        scores = self._scores(X)
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
        weights = _training_weights(sample_weight, rows)
        training = weights > 0
        if not training.all():
            rows, targets, weights = rows[training], targets[training], weights[training]
        self.classes_, codes = np.unique(targets, return_inverse=True)
        if len(self.classes_) < 2:
            found = f"one class ({self.classes_[0]!r})" if len(self.classes_) else "no rows"
            raise ProbeError(f"expected two classes or more among the rows of weight above 0, found {found}")
        return rows, codes, weights


class LogisticProbe(_Classifier):
    """L2-regularised logistic regression on standardised features, binary or multinomial.

    Attributes after `fit`, for d features: `classes_`; `coef_` (1, d) for two classes, else (classes, d), and
    `intercept_`, both on standardised features; `mean_` and `scale_` (d,) of the rows with a weight above 0;
    `converged_`; `n_iter_`; `gradient_norm_`, of the objective at the end; `n_features_in_`.

    Args:
        l2: penalty on |W|^2 / 2 beside the mean log-loss.
        tol: converged when the gradient norm is at most `tol` times that of coefficients 0.
        max_iter: L-BFGS steps; ending there without convergence warns.
        standardize: to mean 0 and variance 1 over the training rows; a constant feature is only centred.
        class_weight: "balanced" for weights against the classes' frequencies, or a weight per class, times those of rows.
    """

    def __init__(
        self,
        l2: float = 1e-2,
        tol: float = 1e-6,
        max_iter: int = 200,
        standardize: bool = True,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
    ) -> None:
        self.l2 = l2
        self.tol = tol
        self.max_iter = max_iter
        self.standardize = standardize
        self.class_weight = class_weight

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit on X (n, d), read as float32, and y (n,); a row of weight 0 is as if it were not there.

        Raises:
            ProbeError: fewer than two classes, a value that is not finite (its row is named), a bad weight or penalty.
        """
        X, codes, weights = self._validated(X, y, sample_weight)
        weights = weights * compute_sample_weight(self.class_weight, self.classes_[codes])
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
        self.gradient_norm_ = float(fits.gradient_norm[0, 0, 0])
        if not self.converged_:
            warnings.warn(
                f"no convergence to tol={self.tol} in {self.n_iter_} steps: raise max_iter, l2 or tol",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Class probabilities (n, classes)."""
        return _probabilities(self.decision_function(X))


class LDAProbe(_Classifier):
    """Linear discriminant analysis: normal classes of one covariance, priors the classes' shares.

    The scores of `decision_function` are log-odds for two classes, else log-probabilities up to a common term. After
    `fit`: as `LogisticProbe` without what tells of its steps.

    Args:
        shrinkage: of the covariance within classes towards its mean variance, 0 to 1, as in scikit-learn. Directions that
            hold no data at 0 are left out (the pseudo-inverse).
        standardize: features to variance 1 over the training rows first; a constant feature is only centred.
    """

    def __init__(self, shrinkage: float = 0.0, standardize: bool = False) -> None:
        self.shrinkage = shrinkage
        self.standardize = standardize

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit on X (n, d), read as float32, and y (n,); a row of weight 0 is as if it were not there.

        Raises:
            ProbeError: fewer than two classes, a value that is not finite (its row is named), a negative weight, a
                shrinkage out of range.
        """
        X, codes, weights = self._validated(X, y, sample_weight)
        fits = fit_linear(
            "lda",
            X,
            codes[None].astype(np.uint32),
            weights[None],
            np.array([self.shrinkage], dtype=np.float64),
            standardize=self.standardize,
            threads=0,
        )
        self.coef_ = fits["coef"].reshape(-1, X.shape[1])
        self.intercept_, self.mean_, self.scale_ = fits["intercept"], fits["mean"], fits["scale"]
        return self

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Class probabilities (n, classes)."""
        return _probabilities(self.decision_function(X))


class MeanDifferenceProbe(_Classifier):
    """The nearest class mean; of two classes, the projection on the difference of their means from the midpoint.

    Attributes after `fit`: as `LogisticProbe` with `scale_` 1, without what tells of its steps.

    Args:
        whiten: measure distance by the inverse of the pooled within-class covariance (its pseudo-inverse where it is
            singular): linear discriminant analysis with equal priors.
    """

    def __init__(self, whiten: bool = False) -> None:
        self.whiten = whiten

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit on X (n, d), read as float32, and y (n,); a row of weight 0 is as if it were not there.

        Raises:
            ProbeError: fewer than two classes, a value that is not finite (its row is named), a negative weight.
        """
        X, codes, weights = self._validated(X, y, sample_weight)
        kind: Kind = "mean-difference-whitened" if self.whiten else "mean-difference"
        fits = fit_many(X, codes[None], weights[None], kind=kind)
        self.coef_, self.intercept_ = fits.coef[0, 0, 0], fits.intercept[0, 0, 0]
        self.mean_, self.scale_ = fits.mean[0], fits.scale[0]
        return self


class RidgeProbe(MultiOutputMixin, RegressorMixin, _Linear):  # type: ignore[misc]
    """Ridge regression of numbers on standardised features: half the mean squared error + l2 / 2 |W|^2.

    In scikit-learn's terms `alpha = l2 * sum_i w_i`. After `fit`, for d features and t outputs: `coef_` (d,) or (t, d) on
    standardised features, `intercept_` () or (t,), `mean_` and `scale_` (d,), `gradient_norm_` of the objective,
    `n_features_in_`.

    Args:
        l2: penalty on |W|^2 / 2 beside half the mean squared error. Where it is too small to give them a variance (1e-13 d
            of each feature's own), directions without data are left out: the pseudo-inverse.
        standardize: to variance 1 over the training rows; a constant feature is only centred.
    """

    def __init__(self, l2: float = 1e-2, standardize: bool = True) -> None:
        self.l2 = l2
        self.standardize = standardize

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit on X (n, d), read as float32, and y (n,) or (n, t).

        Raises:
            ProbeError: a value or target that is not finite (its row is named), a bad weight or penalty.
        """
        with np.errstate(over="ignore"):
            rows, targets = validate_data(
                self, X, y, dtype=np.float32, order="C", ensure_all_finite=False, multi_output=True
            )
        require_finite(rows)
        numbers = np.asarray(targets, dtype=np.float64)
        weights = _training_weights(sample_weight, rows)
        fits = fit_ridge(
            rows,
            np.ascontiguousarray(numbers.reshape(len(rows), -1).T),
            weights[None],
            np.array([self.l2], dtype=np.float64),
            standardize=self.standardize,
            threads=0,
        )
        shape = numbers.shape[1:]
        self.coef_ = fits["coef"].reshape(*shape, rows.shape[1])
        self.intercept_ = fits["intercept"].reshape(shape)
        self.mean_, self.scale_ = fits["mean"], fits["scale"]
        self.gradient_norm_ = float(fits["gradient_norm"][0])
        return self

    def predict(self, X: ArrayLike) -> Floats:
        """Numbers of shape (n,) or (n, t).

        Raises:
            ProbeError: a value is not finite; the message names its row.
        """
        return self._scores(X)


def _training_weights(sample_weight: ArrayLike | None, X: NDArray[np.float32]) -> Floats:
    weights: Floats = _check_sample_weight(sample_weight, X, dtype=np.float64)
    if (weights < 0).any():
        row = int(weights.argmin())
        raise ProbeError(f"sample_weight is {weights[row]} at row {row}; expected a number >= 0")
    return weights


def _probabilities(scores: Floats) -> Floats:
    if scores.ndim == 1:
        return np.column_stack([expit(-scores), expit(scores)])
    probabilities: Floats = softmax(scores, axis=1)
    return probabilities
