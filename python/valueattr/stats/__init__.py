"""Intervals, tests and declared contrasts. The headline is always a t interval over seeds."""

from valueattr.stats._contrasts import CheckResult, ContrastResult, Evaluation, evaluate
from valueattr.stats._intervals import (
    Interval,
    TooFewClustersError,
    fieller,
    hierarchical_bootstrap,
    t_interval,
)
from valueattr.stats._summary import summarise
from valueattr.stats._tests import Equivalence, holm, p_value, tost

__all__ = [
    "CheckResult",
    "ContrastResult",
    "Equivalence",
    "Evaluation",
    "Interval",
    "TooFewClustersError",
    "evaluate",
    "fieller",
    "hierarchical_bootstrap",
    "holm",
    "p_value",
    "summarise",
    "t_interval",
    "tost",
]
