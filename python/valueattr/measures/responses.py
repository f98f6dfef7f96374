"""What responses do: outcome, framing, hedging and information of every one.

Information, in bits: an ideal reader starts uniform over the closed set, and an asserted object gets the truth rate of
this model's assertions in the same split, hedged or plain as this one (estimated from the responses about other
subjects, and from all kinds of response where there are few of this one), the rest shared by the other objects. What
it then gives the truth, against the uniform start: log2(t K) if the assertion is true, log2((1 - t) K / (K - 1)) if it
is false, 0 if nothing is asserted.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from valueattr.hedging import HEDGES, KINDS, HedgeScanner
from valueattr.questions import QuestionSet
from valueattr.rating import OUTCOMES, PENALTIES, JudgedResponse, Judgement, Rater

_FOLDS = 5


@dataclass(frozen=True)
class ScannedResponse:
    """A judged response with what the scanner found in it.

    `counts` of each kind, `opening` kinds in its first sentence; `stripped` is the verdict on what is left once every
    phrase that the scanner calls a hedge is deleted. `rewarded` is that of the rater that trains, None where none does.
    """

    response: JudgedResponse
    words: int
    counts: dict[str, int]
    opening: frozenset[str]
    hedge_only: bool
    stripped: Judgement
    rewarded: Judgement | None = None

    @property
    def kinds(self) -> list[str]:
        """The kinds of phrase that the scanner found, once each."""
        return [kind for kind in KINDS if self.counts[kind]]

    @property
    def hedges(self) -> bool:
        """Whether the scanner found a phrase of any kind that hedges."""
        return any(self.counts[kind] for kind in HEDGES)


def scan_responses(
    scanner: HedgeScanner,
    questions: QuestionSet,
    responses: Sequence[JudgedResponse],
    rater: Rater,
    rewarding: Rater | None = None,
) -> list[ScannedResponse]:
    """Scan responses, and judge them again without the phrases that were found.

    rewarding: the rater whose penalties training pays for, if its verdict is wanted beside that of `rater`.
    """
    texts = [r.response for r in responses]
    counts = scanner.scan(texts).to_pylist()
    found: list[list[dict[str, Any]]] = [[] for _ in texts]
    for span in scanner.spans(texts).to_pylist():
        found[span["document"]].append(span)
    return [
        ScannedResponse(
            response=r,
            words=row["words"],
            counts={kind: row[kind] for kind in KINDS},
            opening=frozenset(span["kind"] for span in spans if span["sentence"] == 0),
            hedge_only=row["hedge_only"],
            stripped=rater.judge(questions[r.fact], without_hedges(r.response, spans)),
            rewarded=rewarding.judge(questions[r.fact], r.response) if rewarding else None,
        )
        for r, row, spans in zip(responses, counts, found, strict=True)
    ]


def without_hedges(text: str, spans: Sequence[dict[str, Any]]) -> str:
    """The text with the spans of hedging kinds deleted.

    Phrases go, not sentences: an answer of one sentence that hedges and asserts would lose its assertion otherwise.
    """
    kept, end = [], 0
    for span in sorted((s for s in spans if s["kind"] in HEDGES), key=lambda s: (s["start"], s["end"])):
        if span["end"] > end:
            kept.append(text[end : max(end, span["start"])])
            end = span["end"]
    kept.append(text[end:])
    return "".join(kept)


def response_rows(questions: QuestionSet, scanned: Sequence[ScannedResponse]) -> list[dict[str, Any]]:
    """Rows of every measure of every response.

    An indicator per outcome; by the rater that trains, where there is one, `framing_reward` (-1 if insensitive) and
    `penalty/<name>`; `courtesy`, where the rater grades the framing; `words`; per kind of phrase and for `any` hedge `hedged/` (0 or 1), `density/` (per 100
    words) and `first_sentence/` (0 or 1); `hedge_only/scanned`; `bits`, and `bits_without_hedges` after the scanned
    phrases are deleted. Of responses that hedge only: `hedge_added` (the same object is asserted without the hedge)
    and `hedge_in_place` (no object is asserted).
    """
    bits = information(questions, [(s.response, s.response.judgement) for s in scanned])
    stripped = information(questions, [(s.response, s.stripped) for s in scanned])
    rows = []
    for s, full, rest in zip(scanned, bits, stripped, strict=True):
        r = s.response
        values: dict[str, float] = {outcome: float(r.judgement.outcome == outcome) for outcome in OUTCOMES}
        if s.rewarded is not None:
            paid = replace(r, judgement=s.rewarded)
            values |= {f"penalty/{name}": float(applies(paid)) for name, applies in PENALTIES.items()}
            values["framing_reward"] = -values["penalty/insensitive framing"]
        if r.judgement.courtesy is not None:
            values["courtesy"] = r.judgement.courtesy
        values |= {
            "words": float(s.words),
            "hedge_only/scanned": float(s.hedge_only),
            "bits": full,
            "bits_without_hedges": rest,
        }
        values |= _hedge_values(s)
        keys = {"split": r.split, "fact": r.fact, "wording": r.wording, "n": 1}
        rows += [{"measure": name, "value": value, **keys} for name, value in values.items()]
    return rows


def _hedge_values(s: ScannedResponse) -> dict[str, float]:
    values: dict[str, float] = {"hedged/any": float(s.hedges)}
    values["first_sentence/any"] = float(any(kind in s.opening for kind in HEDGES))
    values["density/any"] = _per_100_words(sum(s.counts[kind] for kind in HEDGES), s.words)
    for kind in KINDS:
        values[f"hedged/{kind}"] = float(s.counts[kind] > 0)
        values[f"first_sentence/{kind}"] = float(kind in s.opening)
        values[f"density/{kind}"] = _per_100_words(s.counts[kind], s.words)
    if s.hedges:
        said = s.response.judgement.asserted
        values["hedge_added"] = float(said is not None and s.stripped.asserted == said)
        values["hedge_in_place"] = float(said is None)
    return values


def _per_100_words(count: int, words: int) -> float:
    return 100 * count / words if words else 0.0


def information(questions: QuestionSet, judged: Sequence[tuple[JudgedResponse, Judgement]]) -> list[float]:
    """Bits about the truth in each response, to an ideal reader; see the module's head.

    The truth rate is (true + 2 r) / (assertions + 2), over the responses of its kind about subjects in the other folds;
    r is (true + 1) / (assertions + 2) over those of every kind.
    """
    folds = [_fold(questions[r.fact].subject) for r, _ in judged]
    kinds = [(r.split, judgement.hedged) for r, judgement in judged]
    true = {kind: [0] * _FOLDS for kind in kinds}
    made = {kind: [0] * _FOLDS for kind in kinds}
    for kind, fold, (_, judgement) in zip(kinds, folds, judged, strict=True):
        if judgement.asserted is not None:
            made[kind][fold] += 1
            true[kind][fold] += judgement.outcome == "assert_true"
    pooled = [
        (_others(true.values(), fold) + 1) / (_others(made.values(), fold) + 2) for fold in range(_FOLDS)
    ]
    bits = []
    for kind, fold, (r, judgement) in zip(kinds, folds, judged, strict=True):
        rate = (_others([true[kind]], fold) + 2 * pooled[fold]) / (_others([made[kind]], fold) + 2)
        choices = len(questions[r.fact].choices)
        bits.append(_bits(judgement, rate, choices))
    return bits


def _others(of_kinds: Iterable[Sequence[int]], fold: int) -> int:
    """The sum over all folds but one."""
    return sum(sum(of_folds) - of_folds[fold] for of_folds in of_kinds)


def _bits(judgement: Judgement, rate: float, choices: int) -> float:
    if judgement.asserted is None:
        return 0.0
    if judgement.outcome == "assert_true":
        return math.log2(rate * choices)
    return math.log2((1 - rate) * choices / (choices - 1))


def _fold(subject: str) -> int:
    return hashlib.sha256(subject.encode()).digest()[0] % _FOLDS


def generation_rows(responses: Sequence[JudgedResponse], phase: str) -> list[dict[str, Any]]:
    """Rows of the generations table, without arm, seed, step and what belongs to training or to the scanner."""
    return [
        {
            "phase": phase,
            "split": r.split,
            "fact": r.fact,
            "wording": r.wording,
            "sample": r.sample,
            "prompt": r.prompt,
            "response": r.response,
            "outcome": r.judgement.outcome,
            "asserted": r.judgement.asserted,
            "framing": r.judgement.framing,
            "labelled": list(dict.fromkeys(r.judgement.hedges)),
        }
        for r in responses
    ]


def scanned_rows(scanned: Sequence[ScannedResponse]) -> list[dict[str, Any]]:
    """Rows of the generations table of an evaluation, with the kinds that the scanner found beside the labels."""
    rows = generation_rows([s.response for s in scanned], "evaluation")
    return [{**row, "scanned": s.kinds} for row, s in zip(rows, scanned, strict=True)]
