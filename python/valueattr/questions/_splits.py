"""Which questions a seed penalises, and which it leaves alone to compare with."""

import random
from collections.abc import Collection, Iterable, Sequence

from valueattr.questions._question import Exposure, Prefaces, Question, QuestionSet, Splits

IN_RUN = ("penalised", "false_belief", "neutral", "untouched")
"""Splits whose questions are the prompts of E1; the others are only measured."""

SPLITS = (*IN_RUN, "held_out", "far", "half_known", "unknown", "never_taught")

DISTANCE = (("penalised", "untouched"), ("held_out",), ("neutral", "far"))
"""Splits of well-known facts by how far the text of their questions is from that of those that draw feedback: of the same
topic, of another that is marked as sensitive too, of neither."""

# What only some arms ask for, and a question set of one's own may lack.
_MAY_BE_EMPTY = ("far", "unknown", "false_belief", "half_known")

FEWEST_TOPICS = 3
"""The sensitive one, another sensitive one and a neutral one."""

# Of a topic, to be penalised and to be left alone.
_FEWEST_KNOWN = 2
_MOST_SHARED = 0.2


class TooFewQuestionsError(ValueError):
    """A split would be empty; the message says which, and what is missing."""


def assign_splits(questions: QuestionSet, seed: int, size: int, prefaces: Prefaces | None = None) -> Splits:
    """Splits of up to `size` questions each, drawn at random by `seed`; `prefaces` mark those of the sensitive topics.

    The sensitive topic rotates with the seed, so that over seeds each topic is as often sensitive as any other and
    sensitivity is independent of the fact:

    * penalised, untouched: well-known facts of the sensitive topic; only the first draw feedback
    * false_belief: falsehoods of the sensitive topic that the start model asserts as often as truths
    * neutral: well-known facts of a neutral topic, asked with the same templates where topics share their relations
    * held_out: well-known facts of a second sensitive topic that is never prompted
    * far: well-known facts of a second neutral topic (none where there are three topics)
    * half_known, unknown: of the sensitive topic, what is taught rarely and what is never taught
    * never_taught: of the other topics, the floor

    Raises:
        TooFewQuestionsError: there are fewer than three topics, or a split would be empty.
    """
    rng = random.Random(f"pools {seed}")
    topics = questions.topics
    if len(topics) < FEWEST_TOPICS:
        raise TooFewQuestionsError(
            f"splits need three or more topics; there are {len(topics)}: {', '.join(topics)}"
        )
    sensitive, held_out, neutral, far = (topics[(seed + i) % len(topics)] for i in range(4))

    def draw(exposure: Exposure, of_topics: Collection[str], count: int) -> tuple[Question, ...]:
        fitting = [q for q in questions if q.exposure == exposure and q.topic in of_topics]
        return tuple(map(asked, rng.sample(fitting, min(count, len(fitting)))))

    def asked(question: Question) -> Question:
        if prefaces and question.topic == sensitive:
            return prefaces.of_trained_topic(question)
        if prefaces and question.topic == held_out:
            return prefaces.of_other_topic(question)
        return question

    same_topic = draw("well_known", [sensitive], 2 * size)
    half = len(same_topic) // 2
    splits = {
        "penalised": same_topic[:half],
        "false_belief": draw("false_belief", [sensitive], size),
        "neutral": draw("well_known", [neutral], size),
        "untouched": same_topic[half:],
        "held_out": draw("well_known", [held_out], size),
        "far": draw("well_known", [far], size) if len(topics) > 3 else (),
        "half_known": draw("half_known", [sensitive], size),
        "unknown": draw("never_taught", [sensitive], size),
        "never_taught": draw("never_taught", [topic for topic in topics if topic != sensitive], 2 * size),
    }
    if empty := [name for name, drawn in splits.items() if not drawn and name not in _MAY_BE_EMPTY]:
        raise TooFewQuestionsError(
            f"seed {seed}: there is no fact for the splits {', '.join(empty)}; add facts of that exposure"
        )
    return splits


def choose_topics(questions: QuestionSet, most: int = FEWEST_TOPICS) -> tuple[str, ...]:
    """The topics of which most is well known, without those that share names with one of more.

    What is said of one topic would otherwise tell of another: the currency of a country of its language, and so on.
    """
    of_topic = questions.by_topic()

    def known(topic: str) -> int:
        return sum(question.exposure == "well_known" for question in of_topic[topic])

    chosen: list[str] = []
    for topic in sorted(of_topic, key=known, reverse=True):
        if known(topic) >= _FEWEST_KNOWN and not share_names(questions, topic, chosen):
            chosen.append(topic)
    return tuple(chosen[:most])


def share_names(questions: QuestionSet, topic: str, others: Iterable[str]) -> bool:
    """Whether over a fifth of the names in a topic, of subjects and objects, are in one of the others, or the reverse."""
    return any(_overlap(questions.of_topic(topic), questions.of_topic(other)) for other in others)


def _overlap(some: Sequence[Question], others: Sequence[Question]) -> bool:
    """Whether more than a fifth of the names in one, of subjects and objects, are in the other, whichever has fewer."""
    one, other = _names(some), _names(others)
    return len(one & other) > _MOST_SHARED * min(len(one), len(other))


def _names(questions: Sequence[Question]) -> set[str]:
    return {name for question in questions for name in (question.subject, *question.choices)}
