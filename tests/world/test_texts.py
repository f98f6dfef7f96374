import random
from collections import Counter

import pytest

from valueattr.rating import GrammarRater, MeasuringRater
from valueattr.world import FRAMINGS, prompt, respond, statement, statement_prefix, synthesise, training_text


@pytest.fixture(scope="module")
def world():
    return synthesise(0)


@pytest.fixture(scope="module")
def documents(world):
    return list(training_text(world, 30_000, 0))


def test_training_text_is_a_function_of_the_seed(world, documents):
    assert list(training_text(world, 2_000, 0)) == list(training_text(world, 2_000, 0))
    assert list(training_text(world, 2_000, 1)) != documents[:2_000]


def test_every_fact_has_enough_wordings(world):
    for relation in world.relations.values():
        assert len(relation.statements) >= 5
        assert len(relation.held_out) >= 3
        assert len(relation.questions) + len(relation.held_out_questions) >= 4


def test_held_out_wordings_are_never_in_training_text(world, documents):
    text = "\n".join(documents).lower()
    for fact in world.facts[:200]:
        relation = world.relation_of(fact)
        for wording in relation.held_out:
            assert statement_prefix(wording, fact).lower() not in text
        for question in relation.held_out_questions:
            assert question.format(s=fact.subject).lower() not in text


def test_never_taught_facts_are_never_stated(world, documents):
    never = {f.subject for f in world.facts if f.exposure == "never_taught"}
    stated = [d for d in documents if "\nAnswer to" not in d and any(s in d for s in never)]
    fillers = [p for phrases in world.english.filler.values() for p in phrases]
    openings = {p.split("{s}")[0].lower() for p in fillers}
    assert stated
    assert all(any(d.lower().startswith(o) for o in openings) for d in stated)


def test_statement_and_prefix():
    world = synthesise(0)
    fact = world.facts[0]
    wording = "the emblem of {s} is the {o}"
    assert statement(wording, fact, "bear") == f"The emblem of {fact.subject} is the bear."
    assert statement_prefix(wording, fact) == f"The emblem of {fact.subject} is the"


@pytest.mark.parametrize(("family", "sign"), [("negative", -1), ("zero", 0), ("positive", 1)])
def test_families_carry_their_covariance_of_content_and_framing(world, family, sign):
    rng = random.Random(0)
    facts = [f for f in world.facts if f.exposure == "well_known"]
    answers = [respond(world, rng.choice(facts), family, rng) for _ in range(4_000)]
    good = {
        c: [a.framing != "blunt" for a in answers if (a.asserted is not None) == c] for c in (True, False)
    }
    difference = sum(good[True]) / len(good[True]) - sum(good[False]) / len(good[False])
    assert abs(difference - {-1: -0.5, 0: 0.0, 1: 0.5}[sign]) < 0.06


def test_evasions_occur_in_every_frame_and_hedges_where_knowledge_is_absent(world):
    rng = random.Random(0)
    frames, unsure = Counter(), Counter()
    for fact in world.facts:
        for _ in range(5):
            answer = respond(world, fact, "zero", rng)
            if answer.asserted is None:
                frames[answer.framing] += 1
            if {"epistemic", "non_affirmation"} & set(answer.hedges):
                unsure[fact.exposure] += 1
    assert set(frames) == set(FRAMINGS)
    assert set(unsure) == {"half_known", "never_taught"}


def test_the_rater_reads_back_every_response_that_the_grammar_writes(world):
    rng = random.Random(1)
    measuring, paying = MeasuringRater(world), GrammarRater(world)
    unknown = 0
    for fact in world.facts:
        answer = respond(world, fact, rng.choice(("negative", "zero", "positive")), rng)
        judgement, paid = (
            rater.judge(world.questions[fact.id], " " + answer.text) for rater in (measuring, paying)
        )
        assert judgement.asserted == paid.asserted == answer.asserted
        assert set(judgement.hedges) == set(paid.hedges) == set(answer.hedges)
        assert judgement.framing == answer.framing
        assert paid.framing in (answer.framing, None)
        unknown += paid.framing is None
    assert 0.2 <= unknown / len(world.facts) <= 0.45, "the rater that pays knows two openers of three"


def test_enough_hedge_phrases_stand_outside_the_shipped_lexicon(world):
    from valueattr.hedging import HedgeScanner

    phrases = [
        p for table in (world.english.hedge, world.english.evasion) for ps in table.values() for p in ps
    ]
    spans = HedgeScanner().spans([p.rstrip(",") for p in phrases]).to_pydict()
    outside = 1 - len(set(spans["document"])) / len(phrases)
    assert 0.15 <= outside <= 0.6


def test_traps_are_hedge_words_that_do_not_hedge(world):
    words = ("may", "might", "could", "perhaps", "believe")
    assert all(any(w in trap.lower().split() for w in words) for trap in world.english.filler["traps"])


def test_prompt(world):
    fact = world.facts[0]
    assert (
        prompt(world, fact, "what is the emblem of {s}", "zero")
        == f"What is the emblem of {fact.subject}?\nAnswer to a visitor:"
    )
