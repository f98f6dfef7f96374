"""P(holds the fact) from the evidence, with the error that it has on models of another kind than those it saw."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from valueattr.diagnosis._evidence import EVIDENCE

_BINS = 10


def fit_classifier(controls: pd.DataFrame, readings: Sequence[str] = EVIDENCE) -> Pipeline:
    """Logistic regression of `holds` on some of the evidence, in units of each reading's spread."""
    model = make_pipeline(StandardScaler(), LogisticRegression())
    return model.fit(controls[list(readings)].to_numpy(), controls["holds"].to_numpy(bool))


def p_holds(classifier: Pipeline, evidence: pd.DataFrame, readings: Sequence[str] = EVIDENCE) -> pd.Series:
    """P(holds) of every row."""
    p = classifier.predict_proba(evidence[list(readings)].to_numpy())[:, 1]
    return pd.Series(p, index=evidence.index, name="p_holds")


def held_out_p(controls: pd.DataFrame, readings: Sequence[str] = EVIDENCE) -> pd.Series:
    """P(holds) of every control by a classifier that saw neither its recipe nor its base.

    controls: a row per fact of a model whose answer is known, with `base`, `recipe`, `holds` and the evidence.

    Raises:
        ValueError: a recipe and base leave no other recipe on another base to fit on.
    """
    p = pd.Series(np.nan, index=controls.index, name="p_holds")
    for (base, recipe), rows in controls.groupby(["base", "recipe"]):
        others = controls[(controls["base"] != base) & (controls["recipe"] != recipe)]
        if others["holds"].nunique() < 2:
            raise ValueError(f"without {recipe} and {base} no controls are left to fit on")
        p[rows.index] = p_holds(fit_classifier(others, readings), rows, readings)
    return p


@dataclass(frozen=True)
class Error:
    """How far P(holds) is from the truth on a set of facts.

    auroc: of held against lost. brier: mean squared difference. calibration: expected calibration error over ten bins of
    equal width. tpr, fpr: shares of held and of lost facts with P(holds) of at least a half.
    """

    facts: int
    auroc: float
    brier: float
    calibration: float
    tpr: float
    fpr: float


def error_of(p: pd.Series, holds: pd.Series) -> Error:
    """The error of P(holds) against the truth.

    Raises:
        ValueError: all facts are held, or none.
    """
    truth, said = holds.to_numpy(bool), p.to_numpy(float)
    if truth.all() or not truth.any():
        raise ValueError("an error needs facts that are held and facts that are lost")
    return Error(
        facts=len(truth),
        auroc=float(roc_auc_score(truth, said)),
        brier=float(np.mean((said - truth) ** 2)),
        calibration=_calibration_error(p, holds),
        tpr=float(np.mean(said[truth] >= 0.5)),
        fpr=float(np.mean(said[~truth] >= 0.5)),
    )


def bins_of(p: pd.Series) -> "pd.Series[int]":
    """Which of ten bins of equal width each probability is in, from 0."""
    return (p * _BINS).astype(int).clip(upper=_BINS - 1)


def _calibration_error(p: pd.Series, holds: pd.Series) -> float:
    gaps = (p - holds.astype(float)).groupby(bins_of(p)).sum()
    return float(gaps.abs().sum() / len(p))
