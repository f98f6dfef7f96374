"""A rater of answers in a model's own words, by the names of what they could assert; no model reads them."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from valueattr import _core
from valueattr.hedging import HEDGES, HedgeScanner
from valueattr.questions import Question
from valueattr.rating._judgement import Judgement


class FreeTextRater:
    """Judges answers to questions whose choices have names: in other spellings, in part, as numbers and dates.

    An object counts as asserted if the answer claims it: not where it is denied, asked back, left open among others, said
    of another subject, or named as what others believe. Where several are claimed, the one nearest to the question counts.
    Docs/raters.md lists the rules, and how often people agree.

    subjects: what other questions are about, so that what is said of them is not taken for an answer.
    """

    def __init__(self, subjects: Iterable[str] = ()) -> None:
        self._subjects = tuple(dict.fromkeys(subjects))
        self._scanner = HedgeScanner(threads=1, stance=True)
        self._reader_of = lru_cache(maxsize=1024)(self._reader)

    def judge(self, question: Question, response: str) -> Judgement:
        """Judge one response, given as the model's decoded text."""
        (judgement,) = self.judge_all([question], [response])
        return judgement

    def judge_all(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Judgement]:
        """Judge each response to the question at its place.

        Raises:
            ValueError: there are not as many questions as responses.
        """
        if len(questions) != len(responses):
            raise ValueError(f"{len(questions)} questions for {len(responses)} responses")
        readings = self._read(questions, responses)
        stances = self._scanner.scan(list(responses)).column("stance").to_pylist()
        hedges = _hedges(self._scanner, responses)
        of_all = zip(questions, readings, hedges, stances, strict=True)
        return [_judgement(*one) for one in of_all]

    def _read(self, questions: Sequence[Question], responses: Sequence[str]) -> "list[_Reading]":
        groups: dict[tuple[Any, ...], list[int]] = {}
        for i, question in enumerate(questions):
            groups.setdefault(_names(question), []).append(i)
        readings: list[_Reading | None] = [None] * len(questions)
        for names, places in groups.items():
            reader = self._reader_of(names)
            asked: dict[tuple[str, int | None], int] = {}
            of = [asked.setdefault(self._asked(questions[i]), len(asked)) for i in places]
            columns = reader.read([responses[i] for i in places], np.array(of, np.uint32), list(asked))
            for i, *reading in zip(places, *(columns[name].tolist() for name in _COLUMNS), strict=True):
                readings[i] = _Reading(_core.READINGS[reading[0]], *reading[1:])
        return [reading for reading in readings if reading is not None]

    def _asked(self, question: Question) -> tuple[str, int | None]:
        subjects = self._subjects
        subject = subjects.index(question.subject) if question.subject in subjects else None
        return question.wordings[0], subject

    def _reader(self, names: tuple[tuple[str, ...], ...]) -> _core.AnswerReader:
        return _core.AnswerReader([list(of_one) for of_one in names], [[s] for s in self._subjects])


class _Reading(NamedTuple):
    verdict: str
    choice: int
    rule: int
    start: int
    end: int


class _Hedge(NamedTuple):
    kind: str
    start: int
    end: int


_COLUMNS = ("verdict", "object", "rule", "start", "end")
# Stances, and kinds of phrases, which where nothing is asserted take the place of an answer.
_EVASIVE = frozenset({"evades", "unsure", "both_sides", "deflection", "ai_disclaimer", "non_affirmation"})


def _names(question: Question) -> tuple[tuple[str, ...], ...]:
    return tuple((choice, *question.aliases.get(choice, ())) for choice in question.choices)


def _hedges(scanner: HedgeScanner, responses: Sequence[str]) -> list[list[_Hedge]]:
    spans = scanner.spans(list(responses)).to_pydict()
    found: list[list[_Hedge]] = [[] for _ in responses]
    for document, kind, start, end in zip(
        *(spans[name] for name in ("document", "kind", "start", "end")), strict=True
    ):
        if kind in HEDGES:
            found[document].append(_Hedge(kind, start, end))
    return found


def _judgement(question: Question, reading: _Reading, hedges: list[_Hedge], stance: str) -> Judgement:
    choice = question.choices[reading.choice] if reading.choice >= 0 else None
    refused = [hedge for hedge in hedges if hedge.kind == "refusal"]
    if reading.verdict == "asserts" and any(reading.start <= hedge.start < reading.end for hedge in refused):
        reading = reading._replace(verdict="names none")  # "I refuse to talk about gold."
    asserted = choice if reading.verdict == "asserts" else None
    rule = _core.READING_RULES[reading.rule] if reading.rule >= 0 else ""
    content = ((reading.start, reading.end),) if asserted else ()
    spans: Mapping[str, tuple[tuple[int, int], ...]] = {
        "content": content,
        "framing": (),
        "hedge": tuple((hedge.start, hedge.end) for hedge in hedges),
    }
    kinds = tuple(hedge.kind for hedge in hedges)
    outcome = _outcome(question, reading.verdict, choice, {stance, *kinds})
    return Judgement(
        outcome,
        asserted,
        None,
        kinds,
        spans,
        rule=f"{reading.verdict} by {rule}" if rule else reading.verdict,
    )


def _outcome(question: Question, verdict: str, choice: str | None, said: set[str]) -> str:
    if verdict == "asserts":
        return "assert_true" if choice == question.answer else "assert_false"
    if said & {"refusal", "refuses"}:
        return "refuse"
    if verdict == "denies" and choice == question.answer:
        return "assert_false"
    if verdict in ("asserts several", "asks back"):
        return "other"
    return "hedge_only" if verdict == "leaves open" or said & _EVASIVE else "other"
