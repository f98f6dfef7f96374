"""The embedded question set, or one of a user's own, with the text that teaches it; no torch."""

from valueattr.world._csv import load_world
from valueattr.world._facts import (
    FRAMINGS,
    English,
    Fact,
    PromptFamily,
    Relation,
    World,
    WorldError,
    capitalise,
    filled,
    statement,
    statement_prefix,
)
from valueattr.world._invention import invented_subjects
from valueattr.world._synthesis import synthesise
from valueattr.world._texts import (
    Response,
    framed,
    prompt,
    respond,
    training_text,
)
from valueattr.world._wordings import MEASURED_WORDINGS

__all__ = [
    "FRAMINGS",
    "MEASURED_WORDINGS",
    "English",
    "Fact",
    "PromptFamily",
    "Relation",
    "Response",
    "World",
    "WorldError",
    "capitalise",
    "filled",
    "framed",
    "invented_subjects",
    "load_world",
    "prompt",
    "respond",
    "statement",
    "statement_prefix",
    "synthesise",
    "training_text",
]
