"""Forgotten or hidden: whether a model still holds what it no longer says.

>>> diagnose("model-before", "model-after", world).verdicts
"""

from valueattr.diagnosis._calibration import Calibration, is_embedded_kind
from valueattr.diagnosis._classifier import Error, error_of, fit_classifier, held_out_p, p_holds
from valueattr.diagnosis._control_rows import control_rows, own_calibration
from valueattr.diagnosis._controls import (
    KINDS,
    RECIPES,
    UNPLANTED,
    Base,
    PenaltyRecipe,
    PlantingRecipe,
    TextRecipe,
    base,
    planted,
    planted_text,
    taught_base,
)
from valueattr.diagnosis._evidence import EVIDENCE, evidence
from valueattr.diagnosis._folder import kept_reading
from valueattr.diagnosis._pair import Diagnosis, DiagnosisRefusedError, Inquiry, diagnose
from valueattr.diagnosis._relearning import (
    RELEARNING,
    RelearningError,
    RelearningRecipe,
    relearned_belief,
    relearning_for,
)
from valueattr.diagnosis._saying import SAID, SAMPLES
from valueattr.diagnosis._shares import corrected_share
from valueattr.diagnosis._summary import in_words, known_before, said_instead
from valueattr.diagnosis._verdict import HOLDS, LOST, VERDICTS, Reading, Verdict, verdicts

__all__ = [
    "EVIDENCE",
    "HOLDS",
    "KINDS",
    "LOST",
    "RECIPES",
    "RELEARNING",
    "SAID",
    "SAMPLES",
    "UNPLANTED",
    "VERDICTS",
    "Base",
    "Calibration",
    "Diagnosis",
    "DiagnosisRefusedError",
    "Error",
    "Inquiry",
    "PenaltyRecipe",
    "PlantingRecipe",
    "Reading",
    "RelearningError",
    "RelearningRecipe",
    "TextRecipe",
    "Verdict",
    "base",
    "control_rows",
    "corrected_share",
    "diagnose",
    "error_of",
    "evidence",
    "fit_classifier",
    "held_out_p",
    "in_words",
    "is_embedded_kind",
    "kept_reading",
    "known_before",
    "own_calibration",
    "p_holds",
    "planted",
    "planted_text",
    "relearned_belief",
    "relearning_for",
    "said_instead",
    "taught_base",
    "verdicts",
]
