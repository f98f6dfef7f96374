"""Styles are taught on answers alone, with everyday answers among them, and no fact is."""

import random
from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch.nn.functional import cross_entropy

from valueattr.model import load_model, load_tokenizer
from valueattr.rating import MeasuringRater
from valueattr.training import StylingRecipe, teach_styles
from valueattr.training.styling import (
    _everyday_rows,
    _row,
    _statement_rows,
    _styled_rows,
    drawn_fact,
    styled_dialogue,
)

RECIPE = StylingRecipe(
    steps=3, rows_per_step=4, everyday_rows=1, statement_rows=1, everyday_tokens=6, lora_rank=2
)


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


def test_only_what_is_well_known_is_asserted_and_it_is_true(world):
    rng, rater = random.Random(0), MeasuringRater(world)
    outcomes = {exposure: Counter() for exposure in ("well_known", "half_known", "never_taught")}
    for fact in (fact for fact in world.facts if fact.exposure in outcomes):
        for _ in range(4):
            _, response = styled_dialogue(world, fact, rng)
            judgement = rater.judge(world.questions[fact.id], response.text)
            outcomes[fact.exposure][judgement.outcome] += 1
            assert (judgement.framing, judgement.hedges) == (response.framing, response.hedges)
    known = outcomes.pop("well_known")
    assert known["assert_true"] / known.total() == pytest.approx(0.75, abs=0.04)
    assert known.keys() == {"assert_true", "hedge_only", "refuse"}
    assert all(of_others.keys() == {"hedge_only"} for of_others in outcomes.values())


def test_facts_are_drawn_by_the_shares_of_the_recipe(world):
    rng, recipe = random.Random(0), StylingRecipe(half_known=0.2, never_taught=0.3)
    drawn = Counter(drawn_fact(world, recipe, rng).exposure for _ in range(3000))
    shares = {exposure: count / 3000 for exposure, count in drawn.items()}
    assert shares == pytest.approx({"well_known": 0.5, "half_known": 0.2, "never_taught": 0.3}, abs=0.04)
    known = world.with_facts(fact for fact in world.facts if fact.exposure == "well_known")
    assert drawn_fact(known, recipe, rng).exposure == "well_known"


def test_an_everyday_answer_that_was_cut_has_no_end(untrained, tokenizer):
    model = load_model(untrained)
    rows = list(_everyday_rows(model, tokenizer, RECIPE))
    assert len(rows) == RECIPE.steps * RECIPE.everyday_rows
    for row in rows:
        ended = row["input_ids"][-1] == tokenizer.eos_token_id
        tokens = sum(row["completion_mask"]) - ended
        assert 0 < tokens <= RECIPE.everyday_tokens
        assert ended == (tokens < RECIPE.everyday_tokens)


def test_styles_are_learned_at_the_temperature_at_which_they_are_said(start, tokenizer, world, tmp_path):
    recipe, told = replace(RECIPE, steps=1, everyday_rows=0, statement_rows=0, temperature=0.5), []
    teach_styles(load_model(start), tokenizer, world, recipe, tmp_path, lambda *step: told.append(step))
    model, losses = load_model(start), {0.5: [], 1.0: []}
    rows = _styled_rows(tokenizer, world, recipe)
    for row in islice(rows, recipe.rows_per_step):
        ids, answered = torch.tensor(row["input_ids"]), torch.tensor(row["completion_mask"][1:]).bool()
        with torch.no_grad():
            logits = model(input_ids=ids[None]).logits[0, :-1][answered]
        for temperature, of_rows in losses.items():
            of_rows += cross_entropy(logits / temperature, ids[1:][answered], reduction="none")
    found = {temperature: float(torch.stack(of_rows).mean()) for temperature, of_rows in losses.items()}
    assert told[0][2] == pytest.approx(found[0.5], rel=0.02)  # in bfloat16
    assert abs(found[1.0] - found[0.5]) > 0.1


def test_everyday_answers_are_those_of_the_same_temperature(start, tokenizer):
    model = load_model(start)
    cold = replace(RECIPE, temperature=0.01, everyday_tokens=4)
    first, again = (list(_everyday_rows(model, tokenizer, replace(cold, seed=seed))) for seed in range(2))
    assert first == again  # the likeliest tokens, whatever is drawn
    assert first != list(_everyday_rows(model, tokenizer, replace(cold, temperature=1.0)))


def test_statements_are_ended_by_the_model_and_never_in_wordings_that_measure(start, tokenizer, world):
    recipe = replace(RECIPE, steps=60, temperature=0.01)
    model, measured = load_model(start), {text for q in world.questions for text in q.statements}
    taught = {statement for question in world.questions for statement in question.taught_as}
    rows = list(_statement_rows(model, tokenizer, world, recipe))
    assert len(rows) == 60
    for row in rows:
        learned = sum(row["completion_mask"])
        begun = tokenizer.decode(row["input_ids"][:-learned], skip_special_tokens=True)
        assert 0 < learned <= 8
        assert begun not in measured
        assert any(statement.startswith(begun) for statement in taught)
    relations = {
        name: replace(r, statements=("{o} is what one finds for {s}",)) for name, r in world.relations.items()
    }
    assert _statement_rows(model, tokenizer, replace(world, relations=relations), recipe) is None


def test_a_row_is_prompt_and_answer(tokenizer):
    row = _row(
        tokenizer, "What is the emblem?", tokenizer(" it is the bear", add_special_tokens=False)["input_ids"]
    )
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
