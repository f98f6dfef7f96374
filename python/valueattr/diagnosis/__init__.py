"""Forgotten or hidden: whether a model still holds what it no longer says."""

from valueattr.diagnosis._evidence import EVIDENCE, evidence
from valueattr.diagnosis._relearning import RelearningError, RelearningRecipe, relearned_belief

__all__ = ["EVIDENCE", "RelearningError", "RelearningRecipe", "evidence", "relearned_belief"]
