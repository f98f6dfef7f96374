"""Intervals, tests and corrections, which know no domain: they take numbers, and say nothing of where those come from."""

from valueattr.stats._agreement import agreement
from valueattr.stats._audit import audit_sample, corrected_prevalence, raw_prevalence
from valueattr.stats._firth import FirthFit, firth_logit
from valueattr.stats._intervals import (
    Interval,
    TooFewClustersError,
    fieller,
    hierarchical_bootstrap,
    percentile_interval,
    resampled_means,
    t_interval,
    variance_share,
)
from valueattr.stats._tests import Alternative, Equivalence, holm, p_value, tost

__all__ = [
    "Alternative",
    "Equivalence",
    "FirthFit",
    "Interval",
    "TooFewClustersError",
    "agreement",
    "audit_sample",
    "corrected_prevalence",
    "fieller",
    "firth_logit",
    "hierarchical_bootstrap",
    "holm",
    "p_value",
    "percentile_interval",
    "raw_prevalence",
    "resampled_means",
    "t_interval",
    "tost",
    "variance_share",
]
