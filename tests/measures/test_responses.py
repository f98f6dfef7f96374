import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import a_response
from valueattr.hedging import HedgeScanner
from valueattr.measures.responses import information, response_rows, scan_responses, without_hedges
from valueattr.rating import GrammarRater
from valueattr.world import synthesise

WORLD = synthesise(0)
FACTS = [q for q in WORLD.questions if q.relation == "emblem" and q.exposure == "well_known"]
RATER = GrammarRater(WORLD)


def of(fact, text, sample=0):
    return a_response(fact.id, RATER.judge(fact, text), text, sample=sample)


def wrong(fact):
    return fact.distractors[0]


def values(responses):
    scanned = scan_responses(HedgeScanner(), WORLD.questions, responses, RATER)
    rows = response_rows(WORLD.questions, scanned)
    count = len(responses)
    found = [{} for _ in range(count)]
    place = {(r.fact, r.wording): i for i, r in enumerate(responses)}
    for row in rows:
        found[place[row["fact"], row["wording"]]][row["measure"]] = row["value"]
    return found


def test_hedging_of_each_kind_by_hand():
    plain, hedged, evasive = values(
        [
            of(FACTS[0], f" In short, it is the {FACTS[0].answer}."),
            of(FACTS[1], f" In short, perhaps it is the {FACTS[1].answer}."),
            of(FACTS[2], " It is warm. I do not know, I cannot answer that."),
        ]
    )
    assert plain["hedged/any"] == 0
    assert "hedge_added" not in plain
    assert (hedged["hedged/epistemic"], hedged["hedged/any"], hedged["first_sentence/epistemic"]) == (1, 1, 1)
    assert hedged["density/epistemic"] == pytest.approx(100 / 7)
    assert (hedged["hedge_added"], hedged["hedge_in_place"]) == (1, 0)
    choices = len(FACTS[1].choices)
    pooled = 2 / 3  # of one answer about another subject, which is true
    assert hedged["bits"] == pytest.approx(math.log2(pooled * choices))  # no other answer hedges
    assert hedged["bits_without_hedges"] == pytest.approx(math.log2((1 + 2 * pooled) / 3 * choices))
    assert (evasive["hedged/refusal"], evasive["hedged/non_affirmation"]) == (1, 1)
    assert (evasive["first_sentence/refusal"], evasive["hedge_only/scanned"]) == (0, 0)
    assert (evasive["hedge_added"], evasive["hedge_in_place"], evasive["bits"]) == (0, 1, 0)


def test_information_by_hand():
    """Ten answers about ten subjects, eight of them true: the reader's truth rate comes from the other folds."""
    facts = list({f.subject: f for f in FACTS}.values())[:10]
    told = [of(f, f" In short, it is the {f.answer if i < 8 else wrong(f)}.") for i, f in enumerate(facts)]
    bits = information(WORLD.questions, [(r, r.judgement) for r in told])
    choices = len(facts[0].choices)
    for i, value in enumerate(bits):
        if i < 8:
            assert math.log2(0.5 * choices) < value < math.log2(0.95 * choices)
        else:
            assert value < 0
    silent = of(facts[0], " In short, I do not know.")
    assert information(WORLD.questions, [(silent, silent.judgement)]) == [0.0]


def test_a_reader_tells_hedged_answers_from_plain_ones_and_one_split_from_another():
    """Half of all answers are true; knowing which kind they are of, the reader knows nearly all."""
    facts = list({f.subject: f for f in FACTS}.values())[:24]
    told = [
        of(f, f" It is the {f.answer}." if i % 2 else f" Perhaps it is the {wrong(f)}.")
        for i, f in enumerate(facts)
    ]
    choices = len(facts[0].choices)
    bits = information(WORLD.questions, [(r, r.judgement) for r in told])
    assert min(bits[1::2]) > math.log2(0.8 * choices)
    here_true, there_false = (
        replace(of(f, f" It is the {f.answer if i % 2 else wrong(f)}."), split=("a", "b")[i % 2])
        for i, f in enumerate(facts[:2])
    )
    apart = [replace(here_true if i % 2 else there_false, fact=f.id) for i, f in enumerate(facts)]
    pooled = [replace(r, split="a") for r in apart]
    apart_bits, pooled_bits = (
        information(WORLD.questions, [(r, r.judgement) for r in rows]) for rows in (apart, pooled)
    )
    assert min(apart_bits[0::2]) > max(pooled_bits)


def test_a_coin_that_nobody_can_trust_tells_nothing():
    """At a truth rate of chance a true and a false answer tell nothing on average."""
    facts = list({f.subject: f for f in FACTS}.values())
    choices = len(facts[0].choices)
    told = [of(f, f" It is the {f.answer if i % choices == 0 else wrong(f)}.") for i, f in enumerate(facts)]
    bits = information(WORLD.questions, [(r, r.judgement) for r in told])
    assert abs(sum(bits) / len(bits)) < 0.35


@given(st.text(max_size=40), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=5))
@settings(max_examples=300, deadline=None)
def test_deleting_hedges_deletes_just_their_characters(text, ends):
    spans = [
        {
            "kind": "epistemic" if i % 2 == 0 else "booster",
            "start": min(a, len(text)),
            "end": min(b, len(text)),
        }
        for i, (a, b) in enumerate(map(sorted, ends))
    ]
    gone = {c for s in spans if s["kind"] != "booster" for c in range(s["start"], s["end"])}
    assert without_hedges(text, spans) == "".join(c for i, c in enumerate(text) if i not in gone)
