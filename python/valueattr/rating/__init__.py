"""Judgements of responses, with the characters each is about, and what of them reaches the trainer."""

from valueattr.rating._callable import CallableRater
from valueattr.rating._feedback import ASPECTS, NO_ANSWER, PENALTIES, READ_FRAMING, Feedback
from valueattr.rating._free_text import FreeTextRater
from valueattr.rating._grammar import GrammarRater, MeasuringRater
from valueattr.rating._judgement import OUTCOMES, JudgedResponse, Judgement, Rater, RaterError, Span
from valueattr.rating._revision import critique, reframed, review

__all__ = [
    "ASPECTS",
    "NO_ANSWER",
    "OUTCOMES",
    "PENALTIES",
    "READ_FRAMING",
    "CallableRater",
    "Feedback",
    "FreeTextRater",
    "GrammarRater",
    "JudgedResponse",
    "Judgement",
    "MeasuringRater",
    "Rater",
    "RaterError",
    "Span",
    "critique",
    "reframed",
    "review",
]
