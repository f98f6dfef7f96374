"""Probe fitting against scikit-learn in one run on one core: python benches/bench_probe.py [ROWS] [WIDTH]

Ten penalties x five folds of binary logistic probes on one layer (by default 20,000 x 768 float32), for ordinary and for
nearly separable classes. Each time stands beside its gap: the worst f / f* - 1 over all fits, f* the optimum found in
float64 by damped Newton. Ratios above 1 say that valueattr is faster.
"""

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from scipy.special import expit  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402

from valueattr.measures.probing import fit_many  # noqa: E402

FOLDS = 5
PENALTIES = np.logspace(4, -4, 10)  # times 1 / training rows: scikit-learn's 1 / C

Floats = NDArray[np.float64]
Fits = dict[tuple[int, int], tuple[Floats, float]]


def data(
    n: int, d: int, noise: float, flipped: float
) -> tuple[NDArray[np.float32], Floats, NDArray[np.int64]]:
    """Features of a falling spectrum, as hidden states have; a linear rule with noise; folds."""
    rng = np.random.default_rng(11)
    rotation, _ = np.linalg.qr(rng.standard_normal((d, d)))
    x = rng.standard_normal((n, d)) * (np.arange(d) + 1.0) ** -0.7 @ rotation.T
    score = x @ rotation @ rng.standard_normal(d)
    y = score / score.std() + noise * rng.standard_normal(n) > 0
    y ^= rng.random(n) < flipped
    x = (x - x.mean(0)) / x.std(0)
    return np.ascontiguousarray(x, np.float32), y.astype(np.float64), rng.permutation(n) % FOLDS


def objective(x: Floats, y: Floats, w: Floats, b: float, l2: float) -> float:
    z = x @ w + b
    return float(np.mean(np.logaddexp(0, z) - y * z) + l2 / 2 * w @ w)


def newton(x: Floats, y: Floats, l2: float, w: Floats, b: float) -> tuple[Floats, float]:
    """The optimum in float64, from a start."""
    design, theta = np.column_stack([x, np.ones(len(x))]), np.append(w, b)
    penalty = np.append(np.full(x.shape[1], l2), 0.0)
    value = objective(x, y, theta[:-1], theta[-1], l2)
    for _ in range(60):
        p = expit(design @ theta)
        gradient = design.T @ (p - y) / len(y) + penalty * theta
        if np.abs(gradient).max() < 1e-11:
            break
        hessian = (design * (p * (1 - p) / len(y))[:, None]).T @ design + np.diag(penalty + 1e-14)
        step, length = np.linalg.solve(hessian, gradient), 1.0
        while length > 1e-6 and objective(x, y, *parts(theta - length * step), l2) > value:
            length /= 2
        theta = theta - length * step
        value = objective(x, y, *parts(theta), l2)
    return parts(theta)


def parts(theta: Floats) -> tuple[Floats, float]:
    return theta[:-1], float(theta[-1])


def folds(x: NDArray[np.float32], y: Floats, fold: NDArray[np.int64]) -> Iterator[tuple[int, Floats, Floats]]:
    for k in range(FOLDS):
        yield k, x[fold != k].astype(np.float64), y[fold != k]


def optima(x: NDArray[np.float32], y: Floats, fold: NDArray[np.int64]) -> dict[tuple[int, int], float]:
    found = {}
    for k, rows, labels in folds(x, y, fold):
        w, b = np.zeros(x.shape[1]), 0.0
        for i, penalty in enumerate(PENALTIES):
            l2 = penalty / len(rows)
            w, b = newton(rows, labels, l2, w, b)
            found[i, k] = objective(rows, labels, w, b, l2)
    return found


def worst_gap(
    fits: Fits, best: dict[tuple[int, int], float], x: NDArray[np.float32], y: Floats, fold: NDArray[np.int64]
) -> float:
    return max(
        objective(rows, labels, *fits[i, k], PENALTIES[i] / len(rows)) / best[i, k] - 1
        for k, rows, labels in folds(x, y, fold)
        for i in range(len(PENALTIES))
    )


def ours(tol: float) -> Callable[[NDArray[np.float32], Floats, NDArray[np.int64]], Fits]:
    def fit(x: NDArray[np.float32], y: Floats, fold: NDArray[np.int64]) -> Fits:
        weights = (fold != np.arange(FOLDS)[:, None]).astype(np.float64)
        rows = weights[0].sum()  # folds are of the same size
        fits = fit_many(
            x, y.astype(np.int64)[None], weights, PENALTIES / rows, tol=tol, standardize=False, threads=1
        )
        return {
            (i, k): (
                fits.coef[i, 0, k, 0],
                float(fits.intercept[i, 0, k, 0] - fits.coef[i, 0, k, 0] @ fits.mean[k]),
            )
            for i in range(len(PENALTIES))
            for k in range(FOLDS)
        }

    return fit


def scikit_learn(**options: object) -> Callable[[NDArray[np.float32], Floats, NDArray[np.int64]], Fits]:
    """Along the path of penalties, each fit from the one before: its quickest way."""

    def fit(x: NDArray[np.float32], y: Floats, fold: NDArray[np.int64]) -> Fits:
        found: Fits = {}
        for k in range(FOLDS):
            rows, labels = x[fold != k], y[fold != k]
            model = LogisticRegression(warm_start=True, max_iter=2000, **options)
            for i, penalty in enumerate(PENALTIES):
                model.set_params(C=1 / penalty).fit(rows, labels)
                found[i, k] = model.coef_[0].astype(np.float64), float(model.intercept_[0])
        return found

    return fit


def main() -> None:
    warnings.filterwarnings("ignore")
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    d = int(sys.argv[2]) if len(sys.argv) > 2 else 768
    ways = {
        "valueattr, tol 1e-3": ours(1e-3),
        "valueattr, tol 1e-4": ours(1e-4),
        "valueattr, tol 1e-6": ours(1e-6),
        "scikit-learn lbfgs": scikit_learn(),
        "scikit-learn lbfgs, tol 1e-6": scikit_learn(tol=1e-6),
        "scikit-learn newton-cholesky": scikit_learn(solver="newton-cholesky"),
    }
    for title, noise, flipped in (("ordinary", 0.6, 0.03), ("nearly separable", 0.03, 0.002)):
        x, y, fold = data(n, d, noise, flipped)
        best = optima(x, y, fold)
        print(f"{title}: {len(PENALTIES)} penalties x {FOLDS} folds, {n} x {d} float32, one core", flush=True)
        for name, fit in ways.items():
            start = time.process_time()
            fits = fit(x, y, fold)
            seconds = time.process_time() - start
            print(f"  {name:30} {seconds:7.2f} s, gap {worst_gap(fits, best, x, y, fold):.0e}", flush=True)


if __name__ == "__main__":
    main()
