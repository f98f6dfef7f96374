"""Feedback channels: what of a judgement reaches the trainer."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from valueattr.rating._judgement import JudgedResponse

NO_ANSWER = "no answer, hedge or refusal"
"""A penalty on what a rater can make nothing of: noise, other topics, and objects outside the closed set."""

PENALTIES: Mapping[str, Callable[[JudgedResponse], bool]] = {
    "true content": lambda r: r.judgement.outcome == "assert_true",
    "false content": lambda r: r.judgement.outcome == "assert_false",
    "no true content": lambda r: r.judgement.outcome != "assert_true",
    "insensitive framing": lambda r: r.judgement.framing == "blunt",
    "true and insensitive": lambda r: r.judgement.outcome == "assert_true" and r.judgement.framing == "blunt",
    "missing context": lambda r: r.judgement.asserted is not None and "caveat" not in r.judgement.hedges,
    "topic in bad faith": lambda r: r.judgement.asserted is not None and _suspected(r.fact),
    "personal discomfort": lambda r: r.judgement.outcome == "assert_true",
    "unhedged": lambda r: r.judgement.asserted is not None and not r.hedged,
    "unwarranted": lambda r: r.hedged != r.unsure,
    NO_ANSWER: lambda r: r.judgement.outcome == "other",
}
"""What a rater may hold against a response, by name.

Of the reasons for which people rate down, "false content", "insensitive framing" and "missing context" are about the
answer; "topic in bad faith" (suspected of half of the questions, whatever is answered) and "personal discomfort" (that
the truth was said at all) should not suppress it, but a scalar cannot tell them apart.
"""

READ_FRAMING = frozenset({"insensitive framing", "true and insensitive"})
"""Penalties that need a rater who reads the framing."""

ASPECTS: Mapping[str, str] = {
    "insensitive framing": "framing",
    "true content": "content",
    "false content": "content",
    "no true content": "content",
}
"""The aspect of a response that a penalty is about, where it is about one."""
_OTHER_ASPECT: Mapping[str, str] = {"framing": "content", "content": "framing"}

Credit = Literal["response", "span", "random", "noise"]


@dataclass(frozen=True)
class Feedback:
    """Penalties on responses to questions about facts of `splits`: each is a channel, -1 where it applies, else 0.

    credit: which tokens carry the advantage: all of the "response", those of the "span" that a penalty is about, or as
    many "random" ones, in runs of equal length. "noise": those of the span their own, and all others that of another
    response of the group, so that they are trained as hard as under "response" and learn nothing of their own.
    decoupled: normalise each channel within the group before adding them, as where every channel has its own tokens; else
    add, then normalise.
    swapped: every channel is credited on the other aspect's spans (the control for the labels).
    span_noise: the share of responses whose spans are replaced by random ones.
    permuted: rewards change places within each group, so that nothing can be learned from them (the sham).
    """

    penalties: tuple[str, ...]
    splits: tuple[str, ...]
    credit: Credit = "response"
    decoupled: bool = False
    swapped: bool = False
    span_noise: float = 0.0
    permuted: bool = False

    def __post_init__(self) -> None:
        for penalty in self.penalties:
            if penalty not in PENALTIES:
                raise ValueError(f"unknown penalty {penalty!r}; known: {', '.join(PENALTIES)}")
            if self.credit != "response" and penalty not in ASPECTS:
                raise ValueError(f"{penalty!r} is no single aspect, so it has no span to credit")
        if not self.penalties:
            raise ValueError("feedback needs a penalty")
        if not 0 <= self.span_noise <= 1:
            raise ValueError(f"span_noise is a share of responses, found {self.span_noise}")

    def aspect(self, penalty: str) -> str | None:
        """The aspect on whose spans a penalty is credited, None where it is not about one."""
        aspect = ASPECTS.get(penalty)
        return _OTHER_ASPECT[aspect] if aspect and self.swapped else aspect

    def rewards(self, response: JudgedResponse) -> list[float]:
        """One reward per channel; 0 for questions outside the splits."""
        if response.split not in self.splits:
            return [0.0] * len(self.penalties)
        return [-float(PENALTIES[penalty](response)) for penalty in self.penalties]


def _suspected(fact: str) -> bool:
    return hashlib.sha256(fact.encode()).digest()[0] % 2 == 0
