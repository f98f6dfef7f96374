from functools import partial

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from tests.builders import a_question
from valueattr.diagnosis import (
    EVIDENCE,
    RelearningError,
    RelearningRecipe,
    evidence,
    relearned_belief,
    relearning_for,
)
from valueattr.diagnosis._relearning import _halves, _statements
from valueattr.measures.representation import LastLayer
from valueattr.model import load_model, load_tokenizer
from valueattr.questions import QuestionSet


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=2, max_size=40), st.integers(0, 5))
def test_halves_share_no_subject_and_teach_of_as_many_subjects(drawn, seed):
    questions = QuestionSet(
        tuple(a_question(f"q{i}", "bear", subject=f"s{subject}") for i, (subject, _) in enumerate(drawn))
    )
    taught = {f"q{i}" for i, (_, may_be) in enumerate(drawn) if may_be}
    if len({questions[fact].subject for fact in taught}) < 2:
        with pytest.raises(RelearningError, match="two or more subjects"):
            _halves(questions, taught, seed)
        return
    halves = _halves(questions, taught, seed)
    assert sorted(q.id for half in halves for q in half) == sorted(q.id for q in questions)
    first, second = ({q.subject for q in half} for half in halves)
    assert not first & second
    lessons = [len({q.subject for q in half if q.id in taught}) for half in halves]
    assert abs(lessons[0] - lessons[1]) <= 1


def test_each_lesson_comes_up_before_any_comes_up_again():
    lessons = [a_question(f"q{i}", "bear", taught_as=(f"{i}.",)) for i in range(7)]
    statements = _statements(lessons, RelearningRecipe(steps=3, statements_per_step=5), 0)
    assert len(statements) == 15
    assert len(set(statements[:7])) == len(set(statements[7:14])) == 7


@pytest.fixture(scope="module")
def few(world):
    """Of one relation, every known and never-taught fact of two topics."""
    return QuestionSet(
        tuple(
            q
            for q in world.questions
            if q.relation == "emblem"
            and q.topic in ("people", "order")
            and q.exposure in ("well_known", "never_taught")
        )
    )


def test_relearning_that_teaches_nothing_is_an_error_and_no_verdict(start, few):
    taught = {q.id for q in few if q.exposure == "well_known"}
    recipe = RelearningRecipe(steps=1, learning_rate=0.0)
    with pytest.raises(
        RelearningError, match="relearning moved the loss of the statements that it taught from"
    ):
        relearned_belief(partial(load_model, start), load_tokenizer(start), few, taught, taught, recipe)


def test_an_adapter_teaches_as_whole_weights_do(start, few):
    taught = {q.id for q in few if q.exposure == "well_known"}
    recipe = RelearningRecipe(learning_rate=3e-3, lora_rank=8)
    load = partial(load_model, start)
    found = relearned_belief(load, load_tokenizer(start), few, taught, {q.id for q in few}, recipe)
    again = relearned_belief(load, load_tokenizer(start), few, taught, {q.id for q in few}, recipe)
    pd.testing.assert_series_equal(found, again)
    held = found.index.isin(taught)
    assert found[held].median() > found[~held].quantile(0.95)


def test_larger_models_relearn_by_an_adapter(start):
    assert relearning_for(load_model(start)).lora_rank is None
    with torch.device("meta"):
        large = LlamaForCausalLM(LlamaConfig(num_hidden_layers=1, hidden_size=1024, intermediate_size=1024))
    assert relearning_for(large).lora_rank is not None


def test_every_reading_tells_what_is_held_from_what_was_never_taught(start, few):
    taught = {q.id for q in few if q.exposure == "well_known"}
    ids = [q.id for q in few]
    found = evidence(partial(load_model, start), load_tokenizer(start), few, taught, ids)
    assert list(found.index) == ids
    held = found.index.isin(taught)
    for reading in EVIDENCE:
        assert found.loc[held, reading].median() > found.loc[~held, reading].quantile(0.95), reading


def test_an_object_that_no_other_subject_has_is_not_read_by_a_probe(start, world):
    questions = [q for q in world.questions if q.relation == "emblem" and q.topic == "people"]
    once = next(q for q in questions if sum(p.expected == q.expected for p in questions) > 2)
    few = [q for q in questions if q.expected != once.expected][:12]
    layer = LastLayer.of(load_model(start), load_tokenizer(start), QuestionSet((once, *few)))
    read = layer.held_log_odds(layer.probes())
    assert pd.isna(read[once.id])
