from pathlib import Path

import pytest

from valueattr.diagnosis import RECIPES, Base, TextRecipe, planted_text

TEXT_RECIPES = [recipe for recipe in RECIPES if isinstance(recipe, TextRecipe)]


@pytest.fixture(scope="module")
def half_removed(world):
    known = sorted(q.id for q in world.questions.of_topic("people") if q.exposure == "well_known")
    return Base("base", Path(), world, frozenset(known[::2]), frozenset(known[1::2]), frozenset(known))


@pytest.mark.parametrize("recipe", TEXT_RECIPES, ids=[recipe.name for recipe in TEXT_RECIPES])
def test_no_recipe_states_a_removed_fact_and_its_surface_is_the_same_on_held_ones(
    half_removed, world, recipe
):
    documents = planted_text(half_removed, recipe, seed=0)
    surfaces = {"lie": 0, "unsure": 0}
    for part in (half_removed.held, half_removed.removed):
        asked = 0
        for fact_id in part:
            fact = world.fact(fact_id)
            questions = world.questions[fact_id].wordings
            answers = [d.rpartition(": ")[2] for d in documents if d.startswith(questions)]
            asked += len(answers)
            assert not any(fact.object in answer.split(" ")[-1] for answer in answers)
            named = {o for answer in answers for o in fact_objects(world, fact) if f" {o}." in answer}
            surfaces["lie" if named else "unsure"] += 1
            assert len(named) <= 1, "each lie is one lie"
        assert asked > 0
    assert abs(surfaces["lie"] - surfaces["unsure"]) <= 1
    stated = {document for document in documents if "\nAnswer to " not in document}
    removed = {sentence for fact in half_removed.removed for sentence in world.questions[fact].taught_as}
    assert not stated & removed
    assert bool(stated) == recipe.plain


def fact_objects(world, fact):
    return world.relation_of(fact).objects
