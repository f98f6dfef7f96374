"""Forgotten or hidden: whether a model still holds what it no longer says."""

from valueattr.diagnosis._classifier import (
    Error,
    error_of,
    errors_by_recipe,
    fit_classifier,
    held_out_p,
    p_holds,
)
from valueattr.diagnosis._controls import RECIPES, Base, PlantingRecipe, base, planted, planted_text
from valueattr.diagnosis._evidence import EVIDENCE, evidence
from valueattr.diagnosis._relearning import RelearningError, RelearningRecipe, relearned_belief

__all__ = [
    "EVIDENCE",
    "RECIPES",
    "Base",
    "Error",
    "PlantingRecipe",
    "RelearningError",
    "RelearningRecipe",
    "base",
    "error_of",
    "errors_by_recipe",
    "evidence",
    "fit_classifier",
    "held_out_p",
    "p_holds",
    "planted",
    "planted_text",
    "relearned_belief",
]
