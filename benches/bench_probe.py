"""Probe fitting against its peers on one core: python benches/bench_probe.py [SECTION ...] [--rows N] [--width D]

logistic  10 penalties x 5 folds against scikit-learn, for ordinary and for nearly separable classes
linear    ridge paths, discriminant analysis and mean differences over 5 folds, against scikit-learn and NumPy
wide      logistic fits with fewer rows than features, 2,000 x 4,096, at the penalties of a sweep, against scikit-learn
gemm      the logistic batch against its matrix products alone, at the rate that NumPy's BLAS has here
stream    the logistic batch read from a store in a fresh process, against the same in memory (minutes; 3.3 GB of disk)
cost      seconds against rows, features and probes, drawn into docs/images/probe-cost.png (minutes)

Without a section logistic, linear and gemm. Data are 20,000 x 768 float32 unless told otherwise, for `stream` 200,000 x
4,096; `cost` has its own. Times are the least CPU seconds of some rounds, in which all take turns; answers are checked
against float64.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import numpy as np  # noqa: E402
import sklearn  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from scipy.fft import dct  # noqa: E402
from scipy.special import expit  # noqa: E402
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # noqa: E402
from sklearn.linear_model import LogisticRegression, Ridge  # noqa: E402

from valueattr import _core  # noqa: E402
from valueattr.activations import ActivationStore  # noqa: E402
from valueattr.probing import L2, FittedProbes, fit_many  # noqa: E402

FOLDS = 5
PENALTIES = np.logspace(4, -4, 10)  # times 1 / training rows: scikit-learn's 1 / C, and its alpha for ridge
SHRINKAGE = 0.1
CLASSES = {
    "ordinary": (0.6, 0.03),
    "nearly separable": (0.03, 0.002),
}  # noise of the score, share of flipped labels
SPECTRUM = 0.7  # standard deviations of directions fall as j ** -SPECTRUM, as in hidden states

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]
Fits = dict[tuple[int, int], tuple[Floats, float]]
"""By penalty and fold: coefficients (d,) and the intercept, on raw features."""
T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    """Features (n, d), labels (n,) 0 or 1, the fold that each row is left out of (n,), and penalties from strong to weak."""

    x: Rows
    y: Floats
    fold: NDArray[np.int64]
    penalties: Floats

    @property
    def weights(self) -> Floats:
        """(folds, n)."""
        return (self.fold != np.arange(FOLDS)[:, None]).astype(np.float64)

    @property
    def l2(self) -> Floats:
        """Folds are of the same size."""
        return self.penalties / np.count_nonzero(self.fold)

    def training(self) -> Iterator[tuple[int, Floats, Floats]]:
        """Of each fold the rows, in float64, and labels that train on it."""
        for k in range(FOLDS):
            yield k, self.x[self.fold != k].astype(np.float64), self.y[self.fold != k]


def problem(n: int, d: int, noise: float, flipped: float) -> Problem:
    """A linear rule with noise on rotated features, which are then standardised."""
    rng = np.random.default_rng(11)
    rotation, _ = np.linalg.qr(rng.standard_normal((d, d)))
    x = rng.standard_normal((n, d)) * (np.arange(d) + 1.0) ** -SPECTRUM @ rotation.T
    score = x @ rotation @ rng.standard_normal(d)
    y = score / score.std() + noise * rng.standard_normal(n) > 0
    y ^= rng.random(n) < flipped
    x = (x - x.mean(0)) / x.std(0)
    fold = rng.permutation(n) % FOLDS
    return Problem(np.ascontiguousarray(x, np.float32), y.astype(np.float64), fold, PENALTIES)


def in_turns(ways: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, tuple[float, T]]:
    """The least CPU seconds of all rounds, and what came of it."""
    found: dict[str, tuple[float, T]] = {}
    for _ in range(rounds):
        for name, work in ways.items():
            start = time.process_time()
            result = work()
            seconds = time.process_time() - start
            if name not in found or seconds < found[name][0]:
                found[name] = seconds, result
    return found


def on_raw_features(fits: FittedProbes) -> Fits:
    """Of one label set with two classes, not standardised."""
    return {
        (i, k): (w, float(fits.intercept[i, 0, k, 0] - w @ fits.mean[k]))
        for i, of_folds in enumerate(fits.coef[:, 0, :, 0])
        for k, w in enumerate(of_folds)
    }


# --- logistic


def objective(x: Floats, y: Floats, w: Floats, b: float, l2: float) -> float:
    z = x @ w + b
    return float(np.mean(np.logaddexp(0, z) - y * z) + l2 / 2 * w @ w)


def newton(x: Floats, y: Floats, l2: float, w: Floats, b: float) -> tuple[Floats, float]:
    """The optimum in float64 by damped Newton steps from a start."""
    design, theta = np.column_stack([x, np.ones(len(x))]), np.append(w, b)
    penalty = np.append(np.full(x.shape[1], l2), 0.0)
    value = objective(x, y, theta[:-1], theta[-1], l2)
    for _ in range(60):
        p = expit(design @ theta)
        gradient = design.T @ (p - y) / len(y) + penalty * theta
        if np.abs(gradient).max() < 1e-11:
            return theta[:-1], float(theta[-1])
        root = design * np.sqrt(p * (1 - p) / len(y))[:, None]
        step, length = np.linalg.solve(root.T @ root + np.diag(penalty + 1e-14), gradient), 1.0
        while (
            length > 1e-6
            and objective(x, y, theta[:-1] - length * step[:-1], theta[-1] - length * step[-1], l2) > value
        ):
            length /= 2
        theta = theta - length * step
        value = objective(x, y, theta[:-1], theta[-1], l2)
    raise RuntimeError(f"no optimum for l2 {l2}")


def optima(of: Problem) -> dict[tuple[int, int], float]:
    """The least objectives. Newton starts where a fit ended, which saves it half the steps; where it ends is its own."""
    start = on_raw_features(logistic_fits(of, 1e-6))
    return {
        (i, k): objective(x, y, *newton(x, y, l2, *start[i, k]), l2)
        for k, x, y in of.training()
        for i, l2 in enumerate(of.l2)
    }


def worst_gap(of: Problem, fits: Fits, best: Mapping[tuple[int, int], float]) -> float:
    """The largest f / f* - 1."""
    return max(
        objective(x, y, *fits[i, k], l2) / best[i, k] - 1
        for k, x, y in of.training()
        for i, l2 in enumerate(of.l2)
    )


def logistic_fits(of: Problem, tol: float) -> FittedProbes:
    labels = of.y.astype(np.int64)[None]
    return fit_many(of.x, labels, of.weights, of.l2, tol=tol, standardize=False, threads=1)


def scikit_learn(
    x: Rows, y: Floats, fold: NDArray[np.int64], penalties: Floats, folds: int, **options: object
) -> Fits:
    """Along the path of penalties, each fit from the one before: its quickest way."""
    found: Fits = {}
    for k in range(folds):
        rows, labels = x[fold != k], y[fold != k]
        model = LogisticRegression(warm_start=True, max_iter=2000, **options)
        for i, penalty in enumerate(penalties):
            model.set_params(C=1 / penalty).fit(rows, labels)
            found[i, k] = model.coef_[0].astype(np.float64), float(model.intercept_[0])
    return found


def logistic(n: int, d: int) -> None:
    for title, (noise, flipped) in CLASSES.items():
        print(f"logistic, {title}: {len(PENALTIES)} penalties x {FOLDS} folds, {n:,} x {d} float32")
        of = problem(n, d, noise, flipped)
        # What scripts use, and the quickest found to reach a gap of 1e-5, one for each kind of classes.
        peers: dict[str, dict[str, object]] = {
            "lbfgs": {},
            "newton-cholesky, tol 1e-3": {"solver": "newton-cholesky", "tol": 1e-3},
            "newton-cholesky, tol 3e-5": {"solver": "newton-cholesky", "tol": 3e-5},
        }
        compare(of, optima(of), peers)


def wide(n: int, d: int) -> None:
    """A Hessian of all features is out of reach for both."""
    print(f"logistic: {len(L2)} penalties x {FOLDS} folds, {n:,} x {d:,} float32; gaps to a lower bound")
    of = problem(n, d, *CLASSES["ordinary"])
    of = replace(of, penalties=np.sort(L2)[::-1] * np.count_nonzero(of.fold))
    peers: dict[str, dict[str, object]] = {
        f"lbfgs, tol {tol:.0e}": {"tol": tol} for tol in (1e-4, 1e-5, 1e-6)
    }
    compare(of, lower_bounds(of), peers)


def lower_bounds(of: Problem) -> dict[tuple[int, int], float]:
    """f - |gradient|^2 / (2 l2) in float64, where a fit ended: an objective that bends by l2 or more does not fall lower."""
    fits, bounds = on_raw_features(logistic_fits(of, 1e-9)), {}
    for k, x, y in of.training():
        for i, l2 in enumerate(of.l2):
            w, b = fits[i, k]
            residual = (expit(x @ w + b) - y) / len(y)
            gradient = np.append(x.T @ residual + l2 * w, residual.sum())
            bounds[i, k] = objective(x, y, w, b, l2) - float(gradient @ gradient) / (2 * l2)
    return bounds


def compare(
    of: Problem, best: Mapping[tuple[int, int], float], peers: Mapping[str, Mapping[str, object]]
) -> None:
    """Ours at three tolerances against scikit-learn's settings; the gaps of all to the best objectives."""

    def own(tol: float) -> Fits:
        return on_raw_features(logistic_fits(of, tol))

    def peer(options: Mapping[str, object]) -> Fits:
        return scikit_learn(of.x, of.y, of.fold, of.penalties, FOLDS, **options)

    ways = {f"valueattr, tol {tol:.0e}": partial(own, tol) for tol in (1e-4, 1e-5, 1e-6)}
    ways |= {f"scikit-learn {name}": partial(peer, options) for name, options in peers.items()}
    found = in_turns(ways, rounds=2)
    enough = {"valueattr": 1e-6, "scikit-learn": 1e-5}
    quickest = dict.fromkeys(enough, float("inf"))
    for name, (seconds, fits) in found.items():
        gap = worst_gap(of, fits, best)
        print(f"  {name:40}{seconds:8.3f} s, gap {gap:.1e}", flush=True)
        for side, most in enough.items():
            if name.startswith(side) and gap <= most:
                quickest[side] = min(quickest[side], seconds)
    print(
        "  quickest with a gap of at most 1e-6 against scikit-learn's quickest with one of at most 1e-5: "
        f"{quickest['scikit-learn'] / quickest['valueattr']:.1f} x\n",
        flush=True,
    )


# --- linear


def shown(title: str, found: Mapping[str, tuple[float, object]], errors: Mapping[str, float]) -> None:
    print(title)
    own = next(seconds for seconds, _ in found.values())  # ours is the first
    for name, (seconds, _) in found.items():
        print(f"  {name:40}{seconds * 1e3:10.1f} ms{seconds / own:9.1f} x   {errors[name]:.0e}")
    print(flush=True)


def ridge(of: Problem) -> None:
    """Targets are 1 and -1. Scikit-learn has no path over folds; a target per penalty has one Gram matrix for all."""
    target = 2 * of.y - 1
    labels = of.y.astype(np.int64)[None]

    def own() -> Fits:
        return on_raw_features(
            fit_many(of.x, labels, of.weights, of.l2, kind="ridge", standardize=False, threads=1)
        )

    def one_by_one() -> Fits:
        found: Fits = {}
        for k in range(FOLDS):
            rows, targets = of.x[of.fold != k], target[of.fold != k].astype(np.float32)
            for i, alpha in enumerate(PENALTIES):
                model = Ridge(alpha, solver="cholesky").fit(rows, targets)
                found[i, k] = model.coef_.astype(np.float64), float(model.intercept_)
        return found

    def target_per_penalty() -> Fits:
        found: Fits = {}
        for k in range(FOLDS):
            rows, targets = of.x[of.fold != k], target[of.fold != k].astype(np.float32)
            model = Ridge(PENALTIES, solver="cholesky").fit(
                rows, np.repeat(targets[:, None], len(PENALTIES), axis=1)
            )
            for i, w in enumerate(model.coef_):
                found[i, k] = w.astype(np.float64), float(model.intercept_[i])
        return found

    found = in_turns(
        {
            "valueattr ridge": own,
            "scikit-learn cholesky, fit by fit": one_by_one,
            "scikit-learn cholesky, path at once": target_per_penalty,
        },
        rounds=5,
    )
    gaps = dict.fromkeys(found, 0.0)
    for k, x, y in of.training():
        centre, targets = x.mean(0), 2 * y - 1
        x -= centre
        gram, products = x.T @ x / len(x), x.T @ targets / len(x)
        for i, l2 in enumerate(of.l2):

            def value(w: Floats, b: float, x: Floats = x, targets: Floats = targets, l2: float = l2) -> float:
                return float(np.mean((targets - x @ w - b) ** 2) / 2 + l2 / 2 * w @ w)

            best = value(np.linalg.solve(gram + l2 * np.eye(len(gram)), products), targets.mean())
            for name, (_, fits) in found.items():
                w, b = fits[i, k]
                gaps[name] = max(gaps[name], value(w, b + centre @ w) / best - 1)
    shown(f"ridge: {len(PENALTIES)} penalties x {FOLDS} folds, worst gap", found, gaps)


def discriminant(of: Problem) -> None:
    labels = of.y.astype(np.int64)[None]

    def own() -> Fits:
        l2 = [SHRINKAGE / (1 - SHRINKAGE)]
        return on_raw_features(
            fit_many(of.x, labels, of.weights, l2, kind="lda", standardize=False, threads=1)
        )

    def peer(solver: str, dtype: type = np.float32) -> Fits:
        found: Fits = {}
        for k in range(FOLDS):
            model = LinearDiscriminantAnalysis(solver=solver, shrinkage=SHRINKAGE)
            model.fit(of.x[of.fold != k].astype(dtype, copy=False), of.y[of.fold != k])
            found[0, k] = model.coef_[0].astype(np.float64), float(model.intercept_[0])
        return found

    found = in_turns(
        {
            "valueattr lda": own,
            "scikit-learn lsqr": lambda: peer("lsqr"),
            "scikit-learn eigen": lambda: peer("eigen"),
        },
        rounds=5,
    )
    exact = peer("lsqr", np.float64)
    errors = dict.fromkeys(found, 0.0)
    for k in range(FOLDS):
        rows = of.x[of.fold == k].astype(np.float64)
        scores = rows @ exact[0, k][0] + exact[0, k][1]
        for name, (_, fits) in found.items():
            difference = np.abs(rows @ fits[0, k][0] + fits[0, k][1] - scores).max()
            errors[name] = max(errors[name], float(difference / scores.std()))
    shown(
        f"discriminant analysis, shrinkage {SHRINKAGE}: {FOLDS} folds, "
        "largest difference of a held-out score from float64 in standard deviations",
        found,
        errors,
    )


def mean_difference(of: Problem) -> None:
    """One product of indicators has each row's part in every fold's sums: NumPy's quickest."""
    positive = of.y > 0
    labels = of.y.astype(np.int64)[None]

    def own() -> Floats:
        return fit_many(of.x, labels, of.weights, kind="mean-difference", threads=1).coef[0, 0, :, 0]

    def by_selection() -> Floats:
        of_folds = []
        for k in range(FOLDS):
            rows, of_rows = of.x[of.fold != k], positive[of.fold != k]
            of_folds.append(rows[of_rows].mean(0) - rows[~of_rows].mean(0))
        return np.stack(of_folds).astype(np.float64)

    def by_product() -> Floats:
        cell = 2 * of.fold + positive
        indicators = (cell == np.arange(2 * FOLDS)[:, None]).astype(np.float32)
        sums = (indicators @ of.x).astype(np.float64).reshape(FOLDS, 2, -1)
        counts = indicators.sum(1).reshape(FOLDS, 2, 1)
        means = (sums.sum(0) - sums) / (counts.sum(0) - counts)
        return means[:, 1] - means[:, 0]

    found = in_turns(
        {
            "valueattr mean-difference": own,
            "NumPy, rows selected by fold and class": by_selection,
            "NumPy, one product": by_product,
        },
        rounds=20,
    )
    exact = np.stack([x[y > 0].mean(0) - x[y == 0].mean(0) for _, x, y in of.training()])
    errors = {name: float(np.abs(w - exact).max() / np.abs(exact).max()) for name, (_, w) in found.items()}
    shown(f"mean difference: {FOLDS} folds, largest error over the largest difference", found, errors)


def linear(n: int, d: int) -> None:
    of = problem(n, d, *CLASSES["ordinary"])
    ridge(of)
    discriminant(of)
    mean_difference(of)


# --- gemm


def gemm(n: int, d: int) -> None:
    for title, (noise, flipped) in CLASSES.items():
        print(f"products, {title}: {n:,} x {d}, NumPy's BLAS on one thread")
        gemm_of(problem(n, d, noise, flipped))


def gemm_of(of: Problem) -> None:
    """What no way of fitting by passes over the data can do without.

    Per fit and step two products, X W and X' R, and once more at the start, in float32; once in float64; the Gram matrix
    that preconditions, of 16 rows a feature. At the rates of all fits' columns at once, of all rows.
    """
    (n, d), columns = of.x.shape, FOLDS * len(PENALTIES)
    rng = np.random.default_rng(0)
    w, r, exact = (
        rng.standard_normal((d, columns)),
        rng.standard_normal((n, columns)),
        of.x.astype(np.float64),
    )
    w32, r32, sample = w.astype(np.float32), r.astype(np.float32), of.x[: 16 * d]
    products: dict[str, Callable[[], object]] = {
        "X W": lambda: of.x @ w32,
        "X' R": lambda: of.x.T @ r32,
        "X W in float64": lambda: exact @ w,
        "X' R in float64": lambda: exact.T @ r,
        "Gram matrix, one triangle": lambda: sample.T @ sample,
    }
    fits = {f"fits at tol {tol:.0e}": partial(logistic_fits, of, tol) for tol in (1e-4, 1e-5, 1e-6)}
    found: dict[str, tuple[float, Any]] = in_turns(products | fits, rounds=5)
    seconds = {name: taken for name, (taken, _) in found.items()}
    for name in products:
        work = len(sample) * d**2 if name.startswith("Gram") else 2 * n * d * columns
        print(f"  {name:28}{work / seconds[name] / 1e9:8.1f} GFLOP/s")
    evaluation, exact_evaluation = (
        seconds[f"X W{kind}"] + seconds[f"X' R{kind}"] for kind in ("", " in float64")
    )
    for name in fits:
        steps = found[name][1].n_iter.mean()
        needed = (steps + 1) * evaluation + exact_evaluation + seconds["Gram matrix, one triangle"]
        print(
            f"  {name:28}{seconds[name]:8.3f} s, {steps:.1f} steps a fit; products alone {needed:.3f} s: "
            f"{seconds[name] / needed:.2f} x"
        )
    print(flush=True)


# --- stream and cost: data without a (d, d) rotation


def mixed(rng: np.random.Generator, n: int, d: int, label_sets: int = 1) -> tuple[Rows, NDArray[np.int64]]:
    """Rows (n, d), and labels (label_sets, n) by one rule with noise of their own. A cosine transform mixes features.

    The rule is the same in every call.
    """
    latent = rng.standard_normal((n, d), np.float32)
    latent *= (np.arange(d, dtype=np.float32) + 1) ** -SPECTRUM
    rule = np.random.default_rng(11).standard_normal(d, np.float32)
    score = latent @ rule
    score /= np.linalg.norm(rule * (np.arange(d) + 1) ** -SPECTRUM)
    noise, flipped = CLASSES["ordinary"]
    labels = score + noise * rng.standard_normal((label_sets, n)) > 0
    labels ^= rng.random((label_sets, n)) < flipped
    return dct(latent * np.sign(rule), norm="ortho", overwrite_x=True), labels.astype(np.int64)


# --- stream


def write_store(path: Path, n: int, d: int, dtype: str) -> NDArray[np.int64]:
    """A layer in shards of 64 MiB, as `capture` writes them; returns the labels (1, n)."""
    rng = np.random.default_rng(0)
    writer = _core.StoreWriter(path, [0], d, dtype, True)
    size = (64 << 20) // (d * (2 if dtype == "bfloat16" else 4))
    of_shards = []
    for start in range(0, n, size):
        rows, labels = mixed(rng, min(size, n - start), d)
        bits = rows.view(np.uint32)
        if dtype == "bfloat16":  # rounded to even
            bits = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
        number = np.arange(start, start + len(rows))
        writer.append("bench", len(rows), number, number, [bits.view(np.uint8).reshape(-1)])
        of_shards.append(labels)
    writer.finish()
    return np.concatenate(of_shards, axis=1)


def forget(path: Path) -> None:
    """Out of the page cache: the first pass reads the disk."""
    for file in path.iterdir():
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def peak_memory() -> float:
    """Of this process in GB, mapped files included. Unlike `ru_maxrss` it knows nothing of who started the process."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9


def fit_store(
    path: Path, labels: NDArray[np.int64], in_memory: bool
) -> tuple[float, float, float, FittedProbes]:
    """Wall and CPU seconds, the peak of memory in GB, and the fits."""
    store = ActivationStore(path)
    x = store.read(0) if in_memory else store.layer(0)
    fold = np.random.default_rng(1).permutation(store.rows) % FOLDS
    weights = (fold != np.arange(FOLDS)[:, None]).astype(np.float64)
    start, start_cpu = time.perf_counter(), time.process_time()
    fits = fit_many(x, labels, weights, PENALTIES / weights[0].sum(), tol=1e-4, threads=1)
    return time.perf_counter() - start, time.process_time() - start_cpu, peak_memory(), fits


def stream(n: int, d: int) -> None:
    columns = FOLDS * len(PENALTIES)
    with tempfile.TemporaryDirectory() as folder:
        for dtype in ("float32", "bfloat16"):
            path = Path(folder) / dtype
            labels = write_store(path, n, d, dtype)
            print(
                f"{columns} logistic fits, tol 1e-4, of a store of {n:,} x {d:,} in {dtype}, each in a new process"
            )
            speed, coefs = {}, []
            for way in ("streamed", "in memory"):
                forget(path)
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                    wall, cpu, peak, fits = process.submit(
                        fit_store, path, labels, way == "in memory"
                    ).result()
                print(
                    f"  {way:12}{wall:8.1f} s ({cpu:.1f} of CPU), peak {peak:.2f} GB, "
                    f"{fits.n_iter.max()} steps at most, converged {fits.converged.mean():.0%}",
                    flush=True,
                )
                speed[way] = 1 / wall
                coefs.append(fits.coef)
            same = "the same bits" if np.array_equal(*coefs) else "other coefficients"
            print(
                f"  streamed at {speed['streamed'] / speed['in memory']:.0%} of the speed, {same}\n",
                flush=True,
            )
            for file in path.iterdir():
                file.unlink()


# --- cost


@dataclass(frozen=True)
class Size:
    """Probes are penalties x folds x label sets."""

    n: int = 16_384
    d: int = 256
    penalties: int = 10
    folds: int = 5
    label_sets: int = 1

    @property
    def probes(self) -> int:
        return self.penalties * self.folds * self.label_sets


GRIDS: dict[str, Sequence[Size]] = {
    "rows": [Size(n=n) for n in (1024, 4096, 16_384, 65_536, 262_144)],
    "features": [Size(d=d) for d in (16, 64, 256, 1024, 4096)],
    "probes": [
        Size(penalties=1, folds=1),
        Size(folds=1),
        Size(),
        Size(label_sets=4),
        Size(label_sets=20),
    ],
}
AFFORDABLE = 6.0  # seconds of scikit-learn at one point of a grid, for it to go on to the next


def seconds_of(size: Size, peer: bool) -> tuple[float, float, int]:
    """CPU seconds of ours and, if wanted, of scikit-learn's lbfgs; the most steps that one of our fits took."""
    rng = np.random.default_rng(0)
    x, labels = mixed(rng, size.n, size.d, size.label_sets)
    x = (x - x.mean(0)) / x.std(0)
    fold = rng.permutation(size.n) % FOLDS
    weights = (fold != np.arange(size.folds)[:, None]).astype(np.float64)
    penalties = np.logspace(4, -4, size.penalties) if size.penalties > 1 else np.ones(1)
    l2 = penalties / weights[0].sum()

    def own() -> FittedProbes:
        return fit_many(x, labels, weights, l2, tol=1e-4, standardize=False, threads=1)

    def lbfgs() -> list[Fits]:
        return [scikit_learn(x, y.astype(np.float64), fold, penalties, size.folds) for y in labels]

    ways: dict[str, Callable[[], Any]] = {"own": own, "lbfgs": lbfgs} if peer else {"own": own}
    base = Size()
    small = size.n * size.d * size.probes <= base.n * base.d * base.probes
    found = in_turns(ways, rounds=3 if small else 1)
    seconds, fits = found["own"]
    return seconds, found["lbfgs"][0] if peer else float("nan"), int(fits.n_iter.max())


def cost() -> None:
    curves = {}
    for axis, sizes in GRIDS.items():
        print(f"{axis:>10}{'valueattr, s':>16}{'most steps':>12}{'scikit-learn lbfgs, s':>24}{'ratio':>8}")
        curve: list[tuple[float, float, float]] = []
        for size in sizes:
            at = {"rows": size.n, "features": size.d, "probes": size.probes}[axis]
            ours, theirs, steps = seconds_of(size, not curve or curve[-1][2] < AFFORDABLE)
            curve.append((at, ours, theirs))
            print(f"{at:10,}{ours:16.4f}{steps:12}{theirs:24.2f}{theirs / ours:8.1f}", flush=True)
        curves[axis] = np.array(curve)
        print()
    draw_cost(curves, Path(__file__).parents[1] / "docs" / "images" / "probe-cost.png")


def draw_cost(curves: Mapping[str, Floats], path: Path) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "font.size": 10})
    figure = Figure(figsize=(10.4, 3.6), layout="constrained")
    base = Size()
    fixed = {
        "rows": f"{base.d} features, {base.probes} probes",
        "features": f"{base.n:,} rows, {base.probes} probes",
        "probes": f"{base.n:,} rows, {base.d} features",
    }
    panels = figure.subplots(1, 3, sharey=True)
    for panel, (axis, curve) in zip(panels, curves.items(), strict=True):
        at, ours, theirs = curve.T
        middle = len(at) // 2
        for values, ink, label, offset, align in (
            (ours, "#0072B2", "valueattr", (6, -12), "left"),
            (theirs, "#D55E00", "scikit-learn lbfgs", (-6, 6), "right"),
        ):
            panel.loglog(at, values, "o-", ms=4, color=ink)
            panel.annotate(
                label, (at[middle], values[middle]), offset, textcoords="offset points", ha=align, color=ink
            )
        panel.set(xlabel=axis, title=fixed[axis])
        panel.title.set_size(10)
        panel.grid(color="#DDDDDD", lw=0.5)
    panels[0].set_ylabel("CPU seconds, one core")
    figure.savefig(path, dpi=150)


def main() -> None:
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", default=["logistic", "linear", "gemm"])
    parser.add_argument("--rows", type=int)
    parser.add_argument("--width", type=int)
    arguments = parser.parse_args()
    sections = {"logistic": logistic, "linear": linear, "wide": wide, "gemm": gemm, "stream": stream}
    for section in arguments.sections:
        if section == "cost":
            cost()
        elif section in sections:
            n, d = {"stream": (200_000, 4096), "wide": (2_000, 4096)}.get(section, (20_000, 768))
            sections[section](arguments.rows or n, arguments.width or d)
        else:
            parser.error(f"there is no section {section!r}")
    print(f"scikit-learn {sklearn.__version__}, NumPy {np.__version__}", file=sys.stderr)


if __name__ == "__main__":
    main()
