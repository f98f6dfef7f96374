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
from valueattr.hedging import HedgeScanner

# By cross-validation over the prompts of this half: where the lesser of precision and recall, over the sets, is best.
_PENALTY = 10
_THRESHOLD = 0.15


def fit(features: NDArray[np.float64], labels: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Weights and bias of a logistic regression; features are divided by their spread, so that the penalty is fair."""
    spread = features.std(axis=0) + 1e-9
    fitted = LogisticRegression(C=1 / _PENALTY, max_iter=3000).fit(features / spread, labels)
    return fitted.coef_[0] / spread, float(fitted.intercept_[0])


def main(data: Path) -> None:
    """Print the weights."""
    tuned = [response for response in responses(data) if response.is_tuned]
    declines = HedgeScanner(threads=1, stance=True).scan([response.text for response in tuned])["declines"]
    # The others are not weighed: nothing in them may take an answer's place.
    weighed = [one for one, chance in zip(tuned, declines.to_pylist(), strict=True) if chance > 0]
    told = [one for one in weighed if one.label in ("complies", "refuses")]
    show("REFUSAL", told, ("refuses",), _THRESHOLD)
    asked = [
        one for one in weighed if one.source == "quora" and one.label in ("complies", "refuses", "evades")
    ]
    show("DECLINING", asked, ("refuses", "evades"))


def show(name: str, chosen: list[Response], labels: tuple[str, ...], threshold: float = 0.0) -> None:
    """Print weights as the source holds them."""
    scanner = _core.Scanner(None, 1, False, True)
    features = np.array(scanner.stance_features([one.text for one in chosen]))
    weights, bias = fit(features, np.array([one.label in labels for one in chosen]))
    print(f"const {name}: Features = [{', '.join(f'{w:.2f}' for w in weights)}];")
    print(f"const {name}_BIAS: f64 = {bias - threshold:.2f};")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
