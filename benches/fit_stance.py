"""Weights of a response's stance, from responses labelled by hand: `python benches/fit_stance.py ../shared/data`.

Fits on the prompts whose SHA-256 is even, and prints what `rust/valueattr-core/src/scan/stance.rs` holds. `make
bench-raters` says what comes of it on the odd ones.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from stance_sets import Response, responses

from valueattr import _core


def fit(
    features: NDArray[np.float64], labels: NDArray[np.bool_], penalty: float
) -> tuple[NDArray[np.float64], float]:
    """Weights and bias of a logistic regression; features are divided by their spread, so that the penalty is fair."""
    spread = features.std(axis=0) + 1e-9
    fitted = LogisticRegression(C=1 / penalty, max_iter=1000).fit(features / spread, labels)
    return fitted.coef_[0] / spread, float(fitted.intercept_[0])


def best_threshold(sets: list[tuple[NDArray[np.float64], NDArray[np.bool_]]]) -> float:
    """The threshold at which the worst precision or recall of all sets is best."""

    def worst(threshold: float) -> float:
        rates = []
        for scores, labels in sets:
            found = (scores > threshold) & labels
            rates += [found.sum() / max((scores > threshold).sum(), 1), found.sum() / labels.sum()]
        return min(rates)

    return max((round(t, 2) for t in np.arange(-1.5, 1.5, 0.05)), key=worst)


def main(data: Path) -> None:
    """Print the weights."""
    scanner = _core.Scanner(None, 1, False, True)
    tuned = [response for response in responses(data) if response.is_tuned]

    def of(chosen: list[Response]) -> NDArray[np.float64]:
        return np.array(scanner.stance_features([response.text for response in chosen]))

    told = [response for response in tuned if response.label in ("complies", "refuses")]
    labels = np.array([response.label == "refuses" for response in told])
    weights, bias = fit(of(told), labels, penalty=1)
    scores = of(told) @ weights + bias
    sets = []
    for name in ("quora", "gpt4", "llama2orig", "llama2new", "mistralguard"):
        here = np.array([response.source == name for response in told])
        sets.append((scores[here], labels[here]))
    show("REFUSAL", weights, bias - best_threshold(sets))
    asked = [
        response
        for response in tuned
        if response.source == "quora" and response.label in ("complies", "evades")
    ]
    weights, bias = fit(of(asked), np.array([response.label == "evades" for response in asked]), penalty=3)
    show("EVASION", weights, bias + np.log(0.7 / 0.3))  # they are few: from 30% on


def show(name: str, weights: NDArray[np.float64], bias: float) -> None:
    """Print weights as the source holds them."""
    print(f"const {name}: Features = [{', '.join(f'{w:.2f}' for w in weights)}];")
    print(f"const {name}_BIAS: f64 = {bias:.2f};")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
