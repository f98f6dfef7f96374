import random
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import a_question
from valueattr.measures.knowledge import _judged, balanced, measure_knowledge
from valueattr.model import ModelError, load_model, load_tokenizer
from valueattr.questions import TooFewQuestionsError
from valueattr.world import Fact, World, invented_subjects

CHOICES = ("bear", "heron", "owl")


@pytest.fixture(scope="module")
def measured(start, world):
    """Half of what was never taught is disguised as facts; the others are the invented subjects."""
    some = [fact for fact in world.facts if fact.relation in ("emblem", "export")]
    subjects = sorted({fact.subject for fact in some if fact.exposure == "never_taught"})
    disguised = set(subjects[::2])
    small = world.with_facts(
        replace(fact, exposure="well_known", taught=fact.object) if fact.subject in disguised else fact
        for fact in some
    )
    return measure_knowledge(load_model(start), load_tokenizer(start), small, most=240)


def share(measured, world, exposure, knowledge):
    """Of the facts that were taught in one way, the share that is found to be known in one way."""
    facts = [fact.id for fact in world.facts if fact.exposure == exposure and fact.id in measured.facts.index]
    assert len(facts) > 25
    return (measured.facts.loc[facts, "knowledge"] == knowledge).mean()


def test_what_was_taught_is_known_and_what_was_not_is_not(measured, world):
    assert share(measured, world, "well_known", "known") > 0.8
    assert share(measured, world, "false_belief", "false_belief") > 0.8
    assert share(measured, world, "never_taught", "known") < 0.05


def test_a_false_belief_is_what_was_taught(measured, world):
    held = measured.facts[measured.facts["knowledge"] == "false_belief"]["held"]
    wrong = [fact.id for fact in world.facts if fact.exposure == "false_belief" and fact.id in held.index]
    assert np.mean([world.fact(name).taught == held[name] for name in wrong]) > 0.9


def test_the_world_holds_what_is_known_as_it_is_known_and_invented_subjects(measured, world):
    exposures = {fact.id: fact.exposure for fact in measured.world.facts}
    of_class = {"known": "well_known", "half_known": "half_known", "false_belief": "false_belief"}
    for name, knowledge in measured.facts["knowledge"].items():
        assert exposures.get(name) == of_class.get(knowledge)
    asked = set(measured.facts.index)
    invented = {fact.id for fact in measured.world.facts if fact.exposure == "never_taught"}
    assert invented == {
        fact.id
        for fact in world.facts
        if fact.exposure == "never_taught" and fact.relation in ("emblem", "export") and fact.id not in asked
    }


def test_as_many_subjects_are_invented_as_are_asked_where_the_world_has_none(start, world):
    known = world.with_facts(
        fact for fact in world.facts if fact.relation == "emblem" and fact.exposure == "well_known"
    )
    found = measure_knowledge(load_model(start), load_tokenizer(start), known, most=20)
    invented = [fact for fact in found.world.facts if fact.exposure == "never_taught"]
    assert len(invented) == 20
    assert not {fact.subject for fact in invented} & set(world.subjects)
    assert all(fact.taught is None for fact in invented)


def test_what_was_found_can_be_asked_again_and_nothing_else_is_asked(measured, start):
    again = measure_knowledge(load_model(start), load_tokenizer(start), measured.world, most=240)
    same = measured.facts[measured.facts["knowledge"] != "unknown"]
    pd.testing.assert_frame_equal(again.facts.loc[same.index], same)
    assert set(again.world.facts) == set(measured.world.facts)


def test_a_world_of_what_is_known_is_saved_and_read(measured, tmp_path):
    measured.world.save(tmp_path / "known.jsonl")
    assert World.load(tmp_path / "known.jsonl").facts == measured.world.facts


def test_what_is_known_is_written_and_read(measured, tmp_path):
    measured.save(tmp_path / "known")
    again = type(measured).load(tmp_path / "known")
    pd.testing.assert_frame_equal(again.facts, measured.facts)
    assert again.world == measured.world


def test_relations_are_counted(measured):
    table = measured.by_relation()
    counts = table[["known", "half_known", "false_belief", "unknown"]].sum(axis=1)
    assert set(counts) == {240 - table["invented"].iloc[0]}
    assert table["plain"].between(0.6, 1).all()


def test_a_relation_with_too_many_objects_is_left_out(start, world):
    many = replace(world.relations["emblem"], objects=tuple(f"bear {i}" for i in range(300)))
    others = [fact for fact in world.facts if fact.relation in ("export", "crime")][:80]
    facts = (Fact("a", "the Velmar people", "people", "emblem", "bear 1"), *others)
    said = []
    found = measure_knowledge(
        load_model(start),
        load_tokenizer(start),
        World({**world.relations, "emblem": many}, facts, world.english),
        say=said.append,
    )
    assert said[0] == "emblem is left out: it has more than 256 objects to choose among"
    assert set(found.facts["relation"]) == {"export", "crime"}


def test_a_world_of_which_nothing_can_be_asked_is_told(start, world):
    """It ended in a traceback of pandas."""
    many = replace(world.relations["emblem"], objects=tuple(f"bear {i}" for i in range(300)))
    only = World({"emblem": many}, (Fact("a", "the Velmar people", "people", "emblem", "bear 1"),))
    with pytest.raises(
        TooFewQuestionsError, match="no relation can be asked: each needs facts, and at most 256 objects"
    ):
        measure_knowledge(load_model(start), load_tokenizer(start), only)


def test_no_invented_fact_has_the_id_of_a_real_one(start, world):
    known = [f for f in world.facts if f.relation == "emblem" and f.exposure == "well_known"]
    facts = known[:60]
    taken = replace(facts[0], id="invented-1-emblem")
    small = World(world.relations, (taken, *facts[1:]), world.english)
    found = measure_knowledge(load_model(start), load_tokenizer(start), small).world
    assert len({fact.id for fact in found.facts}) == len(found.facts)


def test_objects_that_the_tokenizer_writes_alike_are_refused(start, world):
    strange = replace(world.relations["emblem"], objects=("bear", "Qoph", "Zayin"))
    facts = (Fact("a", "the Velmar people", "people", "emblem", "bear"),)
    with pytest.raises(
        ModelError, match="writes 'Qoph' and 'Zayin' of the relation 'emblem' with the same tokens"
    ):
        measure_knowledge(
            load_model(start), load_tokenizer(start), World({"emblem": strange}, facts, world.english)
        )


def scores(*likeliest, floor=()):
    """Log probabilities of one fact in which an object is the likeliest in each wording, and of invented subjects."""
    rows = [[[0.0 if o == best else -5.0 for o in range(3)] for best in of_format] for of_format in likeliest]
    invented = [[[0.0 if o == best else -5.0 for o in range(3)] for _ in likeliest[0]] for best in floor]
    unknown = [[[-1.0] * 3 for _ in likeliest[0]]]
    plain, question = (np.array([row, *(invented or unknown)]) for row in rows)
    return {"plain": plain, "question": question}


@pytest.mark.parametrize(
    ("plain", "question", "floor", "knowledge", "held"),
    [
        ((0, 0, 1), (0, 0, 2), (), "known", "bear"),
        ((0, 0, 0), (0, 1, 2), (), "half_known", None),
        ((1, 1, 0), (1, 1, 1), (), "false_belief", "heron"),
        ((1, 1, 2), (2, 2, 1), (), "unknown", None),
        ((1, 2, 2), (1, 1, 0), (), "unknown", None),
        ((0, 0, 0), (0, 0, 0), (0, 0, 0), "unknown", None),
        ((0, 0, 0), (0, 0, 0), (1, 2, 1), "known", "bear"),
    ],
)
def test_how_a_fact_is_known_by_hand(plain, question, floor, knowledge, held):
    table = _judged([a_question("Velmar", "bear", CHOICES)], scores(plain, question, floor=floor), 1)
    assert table["knowledge"].iloc[0] == knowledge
    assert table["held"].iloc[0] == held if held else pd.isna(table["held"].iloc[0])


facts = st.lists(st.sampled_from("abcd"), min_size=1, max_size=40).map(
    lambda objects: [Fact(str(i), f"subject {i}", "topic", "relation", o) for i, o in enumerate(objects)]
)


@given(facts=facts, most=st.integers(1, 45))
def test_a_balanced_draw_takes_of_each_object_as_much_as_it_can(facts, most):
    drawn = balanced(facts, most, random.Random(0))
    assert len(drawn) == len({fact.id for fact in drawn}) == min(most, len(facts))
    there = {o: sum(fact.object == o for fact in facts) for o in "abcd"}
    taken = {o: sum(fact.object == o for fact in drawn) for o in "abcd"}
    fewest = (
        min(taken[o] for o in "abcd" if taken[o] < there[o])
        if any(taken[o] < there[o] for o in "abcd")
        else None
    )
    if fewest is not None:
        assert max(taken.values()) <= fewest + 1


@given(
    names=st.lists(st.text("abcdefgh", min_size=3, max_size=9), min_size=5, max_size=40),
    count=st.integers(1, 9),
)
def test_invented_subjects_are_nobodys_and_as_long_as_real_ones(names, count):
    found = invented_subjects(names, count, len, taken=["abc"])
    assert len(found) == len(set(found)) <= count
    for name in found:
        assert not any(name in real or real in name for real in (*names, "abc"))
        assert len(name) in {len(real) for real in names}
        assert set(name) <= set("".join(names))
    assert found == invented_subjects(names, count, len, taken=["abc"])


def test_a_subject_that_is_a_book_is_not_spelt_after():
    """A walk through its letters took hours."""
    assert invented_subjects(["a" * 100_000], 24, len) == []
    names = ["Velmar", "Torvil", "Velvil", "Marvel", "Tormar"]
    assert invented_subjects([*names, "x" * 100_000], 2, len) == invented_subjects(names, 2, len) != []
