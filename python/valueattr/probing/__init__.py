"""Linear probes: what a linear read-out finds in activations.

`LogisticProbe` minimises

    sum_i w_i loss(y_i, W x_i + b) / sum_i w_i  +  l2 / 2 |W|^2

over standardised features x, with log-loss: of one score for two classes, of the softmax for more; b is free. In
scikit-learn's terms `C = 1 / (l2 * sum_i w_i)`. `MeanDifferenceProbe` compares with the class means (mass-mean probe,
Marks and Tegmark 2023). `fit_many` solves fits that share X (penalties, label sets, folds) as one problem.
"""

from valueattr._core import NotFiniteError, ProbeError
from valueattr.probing._batch import FittedProbes, fit_many
from valueattr.probing._columns import SeveralCapturesError
from valueattr.probing._estimators import LDAProbe, LogisticProbe, MeanDifferenceProbe, RidgeProbe
from valueattr.probing._heldout import KINDS, CrossFit, Held, Target, cross_fit, held_out_scores, recentred
from valueattr.probing._intervals import log_odds
from valueattr.probing._sweep import L2, sweep

__all__ = [
    "KINDS",
    "L2",
    "CrossFit",
    "FittedProbes",
    "Held",
    "LDAProbe",
    "LogisticProbe",
    "MeanDifferenceProbe",
    "NotFiniteError",
    "ProbeError",
    "RidgeProbe",
    "SeveralCapturesError",
    "Target",
    "cross_fit",
    "fit_many",
    "held_out_scores",
    "log_odds",
    "recentred",
    "sweep",
]
