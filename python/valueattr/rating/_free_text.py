"""A rater of answers in a model's own words, by the names of what they could assert; no model reads them."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from valueattr import _core
from valueattr.hedging import HEDGES, STANCES, HedgeScanner
from valueattr.questions import Question
from valueattr.rating._judgement import OUTCOMES, Judgement, Span

_READINGS = {name: i for i, name in enumerate(_core.READINGS)}
# Stances, and kinds of phrases, which where nothing is asserted take the place of an answer.
_EVASIVE_STANCES = ("evades", "unsure")
_EVASIVE_KINDS = ("both_sides", "deflection", "ai_disclaimer", "non_affirmation")


class FreeTextRater:
    """Judges answers to questions whose choices have names: in other spellings, in part, as numbers and dates.

    An object counts as asserted if the answer claims it: not where it is denied, asked back, left open among others, said
    of another subject, or named as what others believe. Where several are claimed, the one nearest to the question counts.
    docs/raters.md lists the rules, and how often people agree. Of a question its first wording counts.

    subjects: what other questions are about, so that what is said of them is not taken for an answer.
    """

    def __init__(self, subjects: Iterable[str] = ()) -> None:
        self._subjects = {subject: i for i, subject in enumerate(dict.fromkeys(subjects))}
        self._scanner = HedgeScanner(threads=1, stance=True)
        self._reader_of = lru_cache(maxsize=1024)(self._reader)

    def __reduce__(self) -> tuple[type["FreeTextRater"], tuple[tuple[str, ...]]]:
        return FreeTextRater, (tuple(self._subjects),)

    def judge(self, question: Question, response: str) -> Judgement:
        """Judge one response, given as the model's decoded text."""
        (judgement,) = self.judge_all([question], [response])
        return judgement

    def judge_all(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Judgement]:
        """Judge each response to the question at its place.

        Raises:
            TypeError, ValueError: as for `read`.
        """
        readings = self.read(questions, responses).to_pylist()
        hedges: list[list[tuple[str, Span]]] = [[] for _ in responses]
        for span in self._scanner.spans(list(responses)).to_pylist():
            if span["kind"] in HEDGES:
                hedges[span["document"]].append((span["kind"], (span["start"], span["end"])))
        return [
            Judgement(
                reading["outcome"],
                reading["asserted"],
                None,
                tuple(kind for kind, _ in found),
                {
                    "content": ((reading["start"], reading["end"]),) if reading["asserted"] else (),
                    "framing": (),
                    "hedge": tuple(place for _, place in found),
                },
                rule=reading["rule"],
            )
            for reading, found in zip(readings, hedges, strict=True)
        ]

    def read(self, questions: Sequence[Question], responses: Sequence[str]) -> pa.RecordBatch:
        """One row per response, for millions of them.

        Columns: `outcome`; `asserted`, the choice (null: none); `rule`, what decided; `stance` (all strings);
        `start` and `end`, characters of what asserts it (int32, null: nothing).

        Raises:
            ValueError: there are not as many questions as responses, or a response holds a lone surrogate.
            TypeError: a response is no text, or `responses` is itself one str.
        """
        if isinstance(responses, str):
            raise TypeError("expected several responses, found one str; put it in a list")
        if len(questions) != len(responses):
            raise ValueError(f"{len(questions)} questions for {len(responses)} responses")
        texts = list(responses)
        distinct = {id(question): question for question in questions}
        place = {known: i for i, known in enumerate(distinct)}
        asked = list(distinct.values())
        of = np.fromiter((place[id(question)] for question in questions), np.int64, len(questions))
        verdict, choice, rule, start, end = self._readings(asked, of, texts)
        counts = self._scanner.scan(texts)
        found = {kind: counts.column(kind).to_numpy() > 0 for kind in HEDGES}
        stance = counts.column("stance").indices.to_numpy()
        self._take_back(verdict, rule, texts, found["refusal"], start, end)
        answer = np.array([question.choices.index(question.answer) for question in asked], np.int64)[of]
        asserts, is_answer = verdict == _READINGS["asserts"], choice == answer
        evades = np.isin(stance, [STANCES.index(name) for name in _EVASIVE_STANCES])
        evades |= np.any([found[kind] for kind in _EVASIVE_KINDS], axis=0)
        outcome = np.select(
            [
                asserts & is_answer,
                asserts,
                found["refusal"] | (stance == STANCES.index("refuses")),
                (verdict == _READINGS["denies"]) & is_answer,
                np.isin(verdict, [_READINGS["asserts several"], _READINGS["asks back"]]),
                evades | (verdict == _READINGS["leaves open"]),
            ],
            [OUTCOMES.index(o) for o in _OUTCOME_OF_CASE],
            OUTCOMES.index("other"),
        )
        names = [
            asked[i].choices[j] if is_asserted else None
            for i, j, is_asserted in zip(of.tolist(), choice.tolist(), asserts.tolist(), strict=True)
        ]
        return pa.RecordBatch.from_pydict(
            {
                "outcome": _named(outcome, OUTCOMES),
                "asserted": pa.array(names, pa.string()),
                "rule": _named(verdict.astype(np.int64) * len(_RULES) + rule + 1, _DECIDED),
                "stance": counts.column("stance"),
                "start": pa.array(start, pa.int32(), mask=~asserts),
                "end": pa.array(end, pa.int32(), mask=~asserts),
            }
        )

    def _readings(
        self, asked: Sequence[Question], of: NDArray[np.int64], texts: list[str]
    ) -> tuple[NDArray[np.int64], ...]:
        """Verdict, choice, rule, start and end of each text; `of` says which question it answers."""
        groups: dict[tuple[tuple[str, ...], ...], list[int]] = {}
        for i, question in enumerate(asked):
            groups.setdefault(_names(question), []).append(i)
        columns = np.zeros((len(_COLUMNS), len(texts)), np.int64)
        group, number = np.zeros(len(asked), np.int64), np.zeros(len(asked), np.int64)
        for i, members in enumerate(groups.values()):
            group[members], number[members] = i, np.arange(len(members))
        by_group = np.argsort(group[of], kind="stable")
        ends = np.cumsum(np.bincount(group[of], minlength=len(groups)))[:-1]
        rows_of = np.split(by_group, ends)[: len(groups)]  # one empty part if there is nothing
        for (names, members), rows in zip(groups.items(), rows_of, strict=True):
            read = self._reader_of(names).read(
                [texts[row] for row in rows.tolist()],
                number[of[rows]].astype(np.uint32),
                [(asked[i].wordings[0], self._subjects.get(asked[i].subject)) for i in members],
            )
            columns[:, rows] = [read[name] for name in _COLUMNS]
        return tuple(columns)

    def _take_back(
        self,
        verdict: NDArray[np.int64],
        rule: NDArray[np.int64],
        texts: list[str],
        refuses: NDArray[np.bool_],
        start: NDArray[np.int64],
        end: NDArray[np.int64],
    ) -> None:
        """Nothing is asserted by what refuses: "I refuse to talk about gold.\""""
        rows = np.flatnonzero(refuses & (verdict == _READINGS["asserts"]))
        spans = self._scanner.spans([texts[row] for row in rows.tolist()]).to_pylist()
        for span in spans:
            row = rows[span["document"]]
            if span["kind"] == "refusal" and start[row] <= span["start"] < end[row]:
                verdict[row], rule[row] = _READINGS["names none"], -1

    def _reader(self, names: tuple[tuple[str, ...], ...]) -> _core.AnswerReader:
        return _core.AnswerReader(
            [list(of_one) for of_one in names], [[subject] for subject in self._subjects]
        )


_COLUMNS = ("verdict", "object", "rule", "start", "end")
_OUTCOME_OF_CASE = ("assert_true", "assert_false", "refuse", "assert_false", "other", "hedge_only")
_RULES = ("", *(f" by {rule}" for rule in _core.READING_RULES))
_DECIDED = tuple(verdict + rule for verdict in _core.READINGS for rule in _RULES)


def _names(question: Question) -> tuple[tuple[str, ...], ...]:
    return tuple((choice, *question.aliases.get(choice, ())) for choice in question.choices)


def _named(codes: NDArray[np.int64], names: Sequence[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int8()), pa.array(names, pa.string()))
