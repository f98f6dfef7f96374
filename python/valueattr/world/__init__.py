"""Facts, wordings and pools; the embedded world and the start model that is taught it.

Nothing here imports torch until a start model is asked for.
"""

from valueattr.world._facts import FRAMINGS, English, Fact, Family, Relation, World, WorldError
from valueattr.world._pools import DISTANCE, IN_RUN, POOLS, assign_pools
from valueattr.world._synthesis import synthesise
from valueattr.world._texts import (
    Response,
    capitalise,
    framed,
    prompt,
    respond,
    statement,
    statement_prefix,
    training_text,
)

__all__ = [
    "DISTANCE",
    "FRAMINGS",
    "IN_RUN",
    "POOLS",
    "English",
    "Fact",
    "Family",
    "Relation",
    "Response",
    "World",
    "WorldError",
    "assign_pools",
    "capitalise",
    "framed",
    "prompt",
    "respond",
    "statement",
    "statement_prefix",
    "synthesise",
    "training_text",
]
