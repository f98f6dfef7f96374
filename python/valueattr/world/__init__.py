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
    dialogue,
    framed,
    prompt,
    respond,
    training_text,
)

__all__ = [
    "FRAMINGS",
    "English",
    "Fact",
    "PromptFamily",
    "Relation",
    "Response",
    "World",
    "WorldError",
    "capitalise",
    "dialogue",
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
