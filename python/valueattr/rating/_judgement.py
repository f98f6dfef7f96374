"""What a rater says of a response, and what a rater is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from valueattr.questions import Question

OUTCOMES = ("assert_true", "assert_false", "hedge_only", "refuse", "other")

Span = tuple[int, int]
"""Start and end in characters of the decoded response, end exclusive."""


@dataclass(frozen=True)
class Judgement:
    """The verdict on one response: per aspect, with its spans.

    `asserted` is the one object that the response asserts, `framing` how it opens (None: no known opener),
    `hedges` the kinds of hedging phrase in it. `spans` holds the characters that carry each aspect. `courtesy` grades
    the framing from 0 to 1; None from a rater that does not grade. `rule` names what decided, where a rater says so.
    """

    outcome: str
    asserted: str | None
    framing: str | None
    hedges: tuple[str, ...]
    spans: Mapping[str, tuple[Span, ...]]
    courtesy: float | None = None
    rule: str = ""

    @property
    def hedged(self) -> bool:
        """Whether there is a phrase of any kind but booster, which is the opposite of a hedge."""
        return any(kind != "booster" for kind in self.hedges)


def on_the_whole(outcome: str, response: str, rule: str) -> Judgement:
    """The verdict of a rater that names no part of a response: all of it is the content, and no object is asserted."""
    start, end = len(response) - len(response.lstrip()), len(response.rstrip())
    content = ((start, end),) if start < end else ()
    return Judgement(outcome, None, None, (), {"framing": (), "content": content}, rule=rule)


class RaterError(ValueError):
    """A rater that cannot be used, or that says what none may say; the message names it and what to do."""


class Rater(Protocol):
    """Whatever judges a response to a question. The rater that trains and the one that measures are two objects."""

    def judge(self, question: Question, response: str) -> Judgement:
        """Judge one response, given as the model's decoded text."""
        ...


@dataclass(frozen=True)
class JudgedResponse:
    """A response to a question, with its verdict.

    `fact` is the question's id, `wording` which of its wordings was asked, `unsure` whether the start model was unsure
    of the answer.
    """

    fact: str
    split: str
    wording: str
    sample: int
    prompt: str
    response: str
    judgement: Judgement
    unsure: bool = False

    @property
    def hedged(self) -> bool:
        """Whether it hedges, by the rater's labels."""
        return self.judgement.hedged
