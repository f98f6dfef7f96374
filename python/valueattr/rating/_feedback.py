"""Feedback channels: what of a judgement reaches the trainer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from valueattr.rating._judge import Judgement

PENALTIES: Mapping[str, Callable[[Judgement], bool]] = {
    "true content": lambda j: j.outcome == "assert_true",
    "false content": lambda j: j.outcome == "assert_false",
    "insensitive framing": lambda j: j.framing == "blunt",
    "true and insensitive": lambda j: j.outcome == "assert_true" and j.framing == "blunt",
}
"""What a rater may hold against a response, by name."""

_ASPECT = {"insensitive framing": "framing", "true content": "content", "false content": "content"}


@dataclass(frozen=True)
class Feedback:
    """-1 for a response to a question about a fact of `pool` that the penalty applies to, else 0.

    credit: "response" gives every token of the response the advantage, "span" only the tokens that carry the aspect.
    permuted: rewards change places within each group, so that nothing can be learned from them (the sham).
    """

    penalty: str
    pool: str
    credit: Literal["response", "span"] = "response"
    permuted: bool = False

    def __post_init__(self) -> None:
        if self.penalty not in PENALTIES:
            raise ValueError(f"unknown penalty {self.penalty!r}; known: {', '.join(PENALTIES)}")
        if self.credit == "span" and self.penalty not in _ASPECT:
            raise ValueError(f"{self.penalty!r} is no single aspect, so it has no span to credit")

    @property
    def aspect(self) -> str | None:
        """The aspect whose spans are credited, None where the whole response is."""
        return _ASPECT[self.penalty] if self.credit == "span" else None

    def reward(self, pool: str, judgement: Judgement) -> float:
        """The reward of a response to a question about a fact of `pool`."""
        return -1.0 if pool == self.pool and PENALTIES[self.penalty](judgement) else 0.0
