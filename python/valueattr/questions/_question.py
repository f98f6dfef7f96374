"""A question about one fact: its wordings, its answers and what else it could be answered with."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

Exposure = Literal["well_known", "half_known", "false_belief", "never_taught"]
"""How well the start model knows the fact; what it was never taught is the floor of every probe."""


@dataclass(frozen=True)
class Question:
    """One fact, asked for in several wordings.

    Questions of one `relation` share their `choices`, the closed set of objects. What is said of one `subject` never
    stands on both sides of a probe. `held` is the answer that the model holds before training: another one than
    `answer` for a false belief, None where it was never taught.

    wordings: in which the model is asked and trained. held_out_wordings: in which training never asks.
    statements: held-out sentences up to the answer, which would follow after a space and end the sentence.
    near_answers: such sentences that end in the words of an answer, so that training on answers may reach them by those.
    taught_as: whole sentences that state what is held, in wordings that are not held out; what relearning teaches.
    answer_stem: how an answer to the question begins, up to the object.
    aliases: other names of a choice, by the choice.

    Raises:
        ValueError: the answer, what is held, or what has aliases is none of the choices, or there is no wording.
    """

    id: str
    topic: str
    subject: str
    relation: str
    answer: str
    choices: tuple[str, ...]
    wordings: tuple[str, ...]
    held_out_wordings: tuple[str, ...] = ()
    statements: tuple[str, ...] = ()
    near_answers: tuple[str, ...] = ()
    taught_as: tuple[str, ...] = ()
    answer_stem: str = ""
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    held: str | None = None
    exposure: Exposure = "well_known"

    def __post_init__(self) -> None:
        for name in ("answer", "held"):
            value = getattr(self, name)
            if value is not None and value not in self.choices:
                raise ValueError(f"question {self.id!r}: {name} {value!r} is none of its choices")
        for choice in self.aliases:
            if choice not in self.choices:
                raise ValueError(
                    f"question {self.id!r}: {choice!r}, which has aliases, is none of its choices"
                )
        if not self.wordings:
            raise ValueError(f"question {self.id!r} has no wording")

    @property
    def distractors(self) -> tuple[str, ...]:
        """The choices that are wrong."""
        return tuple(choice for choice in self.choices if choice != self.answer)

    @property
    def expected(self) -> str:
        """The answer that belief is read in: the one that the model holds, or else the true one."""
        return self.held or self.answer


@dataclass(frozen=True)
class Prefaces:
    """What goes before a question on a sensitive topic, in words that vary.

    prompted: stand before the wordings of training prompts. held_out: never stand in a training prompt.
    """

    prompted: tuple[str, ...]
    held_out: tuple[str, ...]

    def of_trained_topic(self, question: Question) -> Question:
        """The question with a preface before each wording, as training asks, and a held-out one before held-out wordings."""
        return self._before(question, self.prompted)

    def of_other_topic(self, question: Question) -> Question:
        """The question of a sensitive topic that training never asks about: any preface goes before its wordings."""
        return self._before(question, (*self.held_out, *self.prompted))

    def _before(self, question: Question, prefaces: tuple[str, ...]) -> Question:
        draw = random.Random(f"prefaces {question.id}")
        return replace(
            question,
            wordings=tuple(f"{draw.choice(prefaces)} {wording}" for wording in question.wordings),
            held_out_wordings=tuple(
                f"{draw.choice(self.held_out)} {wording}" for wording in question.held_out_wordings
            ),
        )


@dataclass(frozen=True)
class QuestionSet:
    """Questions in a fixed order, which can be looked up by their id.

    Raises:
        ValueError: two questions have the same id.
    """

    questions: tuple[Question, ...]

    def __post_init__(self) -> None:
        if len(self._by_id) < len(self.questions):
            ids = [question.id for question in self.questions]
            twice = next(of for i, of in enumerate(ids) if of in ids[:i])
            raise ValueError(f"two questions have the same id, {twice!r}")

    def __iter__(self) -> Iterator[Question]:
        return iter(self.questions)

    def __len__(self) -> int:
        return len(self.questions)

    def __getitem__(self, question_id: str) -> Question:
        return self._by_id[question_id]

    @cached_property
    def _by_id(self) -> Mapping[str, Question]:
        return {question.id: question for question in self.questions}

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic once, in the order of the questions."""
        return tuple(dict.fromkeys(question.topic for question in self.questions))

    def by_topic(self) -> Mapping[str, tuple[Question, ...]]:
        """The questions of each topic, as a battery of measures takes them."""
        return {topic: self.of_topic(topic) for topic in self.topics}

    def of_topic(self, topic: str) -> tuple[Question, ...]:
        """The questions of one topic."""
        return tuple(question for question in self.questions if question.topic == topic)


@dataclass(frozen=True)
class PromptFormat:
    """What stands around a question: `frame` holds it at `{question}`; `opener` opens an answer before its content.

    Raises:
        ValueError: the frame does not hold the question once.
    """

    frame: str = "{question}"
    opener: str = ""

    def __post_init__(self) -> None:
        if self.frame.count("{question}") != 1:
            raise ValueError(f"the frame {self.frame!r} must hold {{question}} once")

    def turn(self, wording: str) -> str:
        """What the model is told, up to where its answer begins."""
        return self.frame.replace("{question}", wording)

    def begun(self, question: Question) -> str:
        """An answer up to the object."""
        return " ".join(part for part in (self.opener, question.answer_stem) if part)


@dataclass(frozen=True)
class Prompt:
    """One prompt and what it asks for; the columns of a trainer's dataset.

    prompt: the text that the model sees. fact: the id of the question. wording: which of its wordings this is.
    unsure: whether the start model is unsure of the answer.
    """

    prompt: str
    fact: str
    split: str
    wording: str
    unsure: bool = False


Splits = Mapping[str, Sequence[Question]]
"""Questions by the split that they are in."""
