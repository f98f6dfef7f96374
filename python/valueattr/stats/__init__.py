"""Intervals, tests and declared contrasts. The headline is always a t interval over seeds."""

from valueattr.stats._audit import audit_sample, corrected_prevalence, raw_prevalence
from valueattr.stats._contrasts import CheckResult, ContrastResult, Evaluation, RatioResult, evaluate
from valueattr.stats._frontier import FRAMING, Frontier, common_range, frontiers
from valueattr.stats._intervals import (
    Interval,
    TooFewClustersError,
    fieller,
    hierarchical_bootstrap,
    t_interval,
)
from valueattr.stats._summary import hedging_summary, summarise
from valueattr.stats._tests import Equivalence, holm, p_value, tost

__all__ = [
    "FRAMING",
    "CheckResult",
    "ContrastResult",
    "Equivalence",
    "Evaluation",
    "Frontier",
    "Interval",
    "RatioResult",
    "TooFewClustersError",
    "audit_sample",
    "common_range",
    "corrected_prevalence",
    "evaluate",
    "fieller",
    "frontiers",
    "hedging_summary",
    "hierarchical_bootstrap",
    "holm",
    "p_value",
    "raw_prevalence",
    "summarise",
    "t_interval",
    "tost",
]
