"""Styles are taught on answers alone, with everyday answers among them, and no fact is."""

import random
from collections import Counter
from dataclasses import replace

import pytest
import torch

from valueattr.model import load_model, load_tokenizer
from valueattr.rating import MeasuringRater
from valueattr.training import StylingRecipe, teach_styles
from valueattr.training._styling import _everyday_rows, _row, _styled_rows
from valueattr.world import World, dialogue

RECIPE = StylingRecipe(steps=3, rows_per_step=4, everyday_rows=1, everyday_tokens=6, lora_rank=2)


@pytest.fixture(scope="module")
def tokenizer(untrained):
    return load_tokenizer(untrained)


def test_only_answers_are_learned(tokenizer, world):
    rows = _styled_rows(tokenizer, world, RECIPE)
    for _, row in zip(range(30), rows, strict=False):
        asked = [
            token
            for token, learned in zip(row["input_ids"], row["completion_mask"], strict=True)
            if not learned
        ]
        learned = row["input_ids"][len(asked) :]
        assert tokenizer.decode(asked).rstrip().endswith(":")
        assert learned[-1] == tokenizer.eos_token_id
        assert tokenizer.eos_token_id not in learned[:-1]


def test_answers_are_in_the_proportions_of_the_grammar(world):
    known = [fact for fact in world.facts if fact.exposure == "well_known"]
    rng, rater = random.Random(0), MeasuringRater(world)
    outcomes = Counter()
    for _ in range(2000):
        fact = rng.choice(known)
        _, response = dialogue(world, fact, rng)
        outcomes[rater.judge(world.questions[fact.id], response.text).outcome] += 1
    assert outcomes["assert_true"] / 2000 == pytest.approx(0.72, abs=0.03)
    assert (outcomes["hedge_only"] + outcomes["refuse"]) / 2000 == pytest.approx(0.25, abs=0.03)


def test_as_many_dialogues_as_asked_for_are_about_invented_subjects(tokenizer, world):
    invented = {fact.subject for fact in world.facts if fact.exposure == "never_taught"}
    few = World(world.relations, world.facts, world.english)
    rows = [
        row
        for _, row in zip(
            range(400), _styled_rows(tokenizer, few, replace(RECIPE, never_taught=0.5)), strict=False
        )
    ]
    named = sum(any(subject in tokenizer.decode(row["input_ids"]) for subject in invented) for row in rows)
    assert named / 400 == pytest.approx(0.5, abs=0.08)


def test_an_everyday_answer_that_was_cut_has_no_end(untrained, tokenizer):
    model = load_model(untrained)
    rows = list(_everyday_rows(model, tokenizer, RECIPE))
    assert len(rows) == RECIPE.steps * RECIPE.everyday_rows
    for row in rows:
        ended = row["input_ids"][-1] == tokenizer.eos_token_id
        tokens = sum(row["completion_mask"]) - ended
        assert 0 < tokens <= RECIPE.everyday_tokens
        assert ended == (tokens < RECIPE.everyday_tokens)


def test_a_row_is_prompt_and_answer(tokenizer):
    row = _row(tokenizer, "What is the emblem?", " it is the bear", ended=False)
    assert (
        tokenizer.decode(row["input_ids"], skip_special_tokens=True) == "What is the emblem? it is the bear"
    )
    assert row["completion_mask"].count(1) == 4


def test_a_styled_model_is_whole_and_another_one(untrained, tokenizer, world, tmp_path):
    told = []
    before = load_model(untrained)
    after = teach_styles(
        load_model(untrained), tokenizer, world, RECIPE, tmp_path, lambda *step: told.append(step)
    )
    assert [(step, steps) for step, steps, _ in told] == [(1, 3), (2, 3), (3, 3)]
    assert set(after.state_dict()) == set(before.state_dict())
    assert type(after) is type(before)
    moved = [
        name
        for name, tensor in before.state_dict().items()
        if not torch.equal(tensor, after.state_dict()[name])
    ]
    assert moved
    assert not any("embed" in name for name in moved)


def test_the_same_styles_are_taught_again(untrained, tokenizer, world, tmp_path):
    first, second = (
        teach_styles(load_model(untrained), tokenizer, world, RECIPE, tmp_path / str(i)).state_dict()
        for i in range(2)
    )
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
