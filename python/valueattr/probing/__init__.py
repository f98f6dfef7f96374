"""Linear probes: what a linear read-out finds in activations.

`LogisticProbe` minimises

    sum_i w_i loss(y_i, W x_i + b) / sum_i w_i  +  l2 / 2 |W|^2

over standardised features x, with log-loss: of one score for two classes, of the softmax for more; b is free. In
scikit-learn's terms `C = 1 / (l2 * sum_i w_i)`. `MeanDifferenceProbe` compares with the class means (mass-mean probe,
Marks and Tegmark 2023). `fit_many` solves fits that share X (penalties, label sets, folds) as one problem.
"""

from valueattr._core import ProbeError
from valueattr.probing._batch import FittedProbes, fit_many
from valueattr.probing._crossfit import KINDS
from valueattr.probing._estimators import LDAProbe, LogisticProbe, MeanDifferenceProbe, RidgeProbe
from valueattr.probing._sweep import L2, sweep

__all__ = [
    "KINDS",
    "L2",
    "FittedProbes",
    "LDAProbe",
    "LogisticProbe",
    "MeanDifferenceProbe",
    "ProbeError",
    "RidgeProbe",
    "fit_many",
    "sweep",
]
