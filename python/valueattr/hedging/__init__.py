"""Hedging phrases: a compiled scanner, dumps of any size, and the scanner's own error.

Importing this imports neither torch nor pandas; `hedging.dumps` scans files, `hedging.audit` corrects by hand-made labels.
"""

from valueattr._core import LexiconError
from valueattr.hedging._scanner import (
    HEDGES,
    KINDS,
    MODAL,
    STANCE_KINDS,
    STANCES,
    Entry,
    HedgeScanner,
    Phrase,
    StanceReasons,
    count_table,
)

__all__ = [
    "HEDGES",
    "KINDS",
    "MODAL",
    "STANCES",
    "STANCE_KINDS",
    "Entry",
    "HedgeScanner",
    "LexiconError",
    "Phrase",
    "StanceReasons",
    "count_table",
]
