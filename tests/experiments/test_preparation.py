"""A model that knows facts is measured, taught styles on some topics and measured again on the others."""

import shutil

import pytest
import torch

from valueattr.experiments import E1, Lines, Materials, run
from valueattr.experiments._preparation import prepare
from valueattr.model import ModelError, load_model
from valueattr.questions import TooFewQuestionsError
from valueattr.training import StylingRecipe
from valueattr.world import World

RECIPE = StylingRecipe(
    steps=2, rows_per_step=4, everyday_rows=1, everyday_tokens=6, lora_rank=2, learning_rate=1e-5
)


@pytest.fixture(scope="module")
def apart(world):
    """The embedded facts with a relation of its own for each topic, so that topics share no names."""
    of_topic = dict(zip(world.english.topics, world.relations, strict=True))
    facts = tuple(fact for fact in world.facts if fact.relation == of_topic[fact.topic])
    return World(world.relations, facts, world.english)


@pytest.fixture(scope="module")
def prepared(start, apart, tmp_path_factory):
    said = []
    cache = tmp_path_factory.mktemp("cache")
    found = prepare(str(start), apart, RECIPE, most=60, display=Lines(said.append), cache=cache)
    return found, said, cache


def test_three_topics_are_taken_and_the_fourth_teaches(prepared, apart):
    found, said, _ = prepared
    assert len(found.summary["topics"]) == 3
    assert {fact.topic for fact in found.world.facts} == set(found.summary["topics"])
    assert said[4].startswith("topics: ")
    assert len([line for line in said if line.startswith("asking")]) == 4 + 3


def test_what_it_knew_it_knows_and_the_rest_is_left_out(prepared, apart):
    found, _, _ = prepared
    assert found.summary["strictly_known_before"] > 80
    assert found.summary["no_longer_known"] <= 0.1 * found.summary["strictly_known_before"]
    known = {fact.id for fact in found.world.facts if fact.exposure == "well_known"}
    assert len(known) >= found.summary["strictly_known_before"] - found.summary["no_longer_known"] - 5
    assert known <= {fact.id for fact in apart.facts}
    never = [sum(f.exposure == "never_taught" for f in facts) for facts in by_topic(apart, found)]
    asked = [sum(f.exposure == "never_taught" for f in facts) for facts in by_topic(found.world, found)]
    assert asked == [count - count // 4 for count in never]  # a quarter taught styles


def by_topic(world, prepared):
    return [[f for f in world.facts if f.topic == topic] for topic in prepared.summary["topics"]]


def test_it_is_made_once(prepared, start, apart):
    found, _, cache = prepared
    said = []
    again = prepare(str(start), apart, RECIPE, most=60, display=Lines(said.append), cache=cache)
    assert again == found
    assert not said
    assert not (found.folder / "work").exists()


def test_topics_that_share_names_are_one_and_too_few(start, world, tmp_path):
    with pytest.raises(TooFewQuestionsError, match="of 1 topics that share few names, and splits need 3"):
        prepare(str(start), world, RECIPE, most=8, display=Lines(), cache=tmp_path)


def test_styles_need_facts_outside_the_splits(start, apart, tmp_path):
    three = apart.of_topics(apart.questions.topics[:3])
    with pytest.raises(TooFewQuestionsError, match=r"knows \d facts that are in no split, and styles are"):
        prepare(str(start), three, RECIPE, most=10, display=Lines(), cache=tmp_path)
    assert not list(tmp_path.glob("start-*"))


def test_a_model_that_answers_in_its_own_words_is_taught_nothing(prepared, start, apart):
    _, _, cache = prepared
    said = []
    natural = prepare(str(start), apart, None, most=60, display=Lines(said.append), cache=cache)
    assert len(said) == 1  # what it knows was asked before
    assert natural.summary["no_longer_known"] == 0
    ours, shipped = (load_model(folder).state_dict() for folder in (natural.folder, start))
    assert all(torch.equal(tensor, ours[name]) for name, tensor in shipped.items())


@pytest.mark.parametrize("file", ["world.jsonl", "styling.json"])
def test_a_damaged_cache_says_what_to_delete(prepared, start, apart, file):
    found, _, cache = prepared
    whole = (found.folder / file).read_bytes()
    (found.folder / file).write_bytes(whole[: len(whole) // 2] + b"{")
    with pytest.raises(
        ModelError, match=rf"{found.folder} in the cache is damaged .*: delete it, and it is made anew"
    ):
        prepare(str(start), apart, RECIPE, most=60, display=Lines(), cache=cache)
    (found.folder / file).write_bytes(whole)


def test_damaged_knowledge_says_what_to_delete(prepared, start, apart, tmp_path):
    _, _, cache = prepared
    copied = shutil.copytree(cache, tmp_path / "cache", ignore=shutil.ignore_patterns("start-*"))
    (known,) = copied.glob("known-*")
    (known / "facts.parquet").write_bytes(b"PAR1")
    with pytest.raises(ModelError, match=rf"{known} in the cache is damaged"):
        prepare(str(start), apart, None, most=60, display=Lines(), cache=copied)


def test_a_run_asks_and_teaches_as_much_as_its_preset_says(start, apart, tmp_path, monkeypatch):
    asked = []

    def stop(source, world, recipe, *, most, **_):
        asked.append((recipe.steps, most))
        raise TooFewQuestionsError("stopped")

    monkeypatch.setattr("valueattr.experiments._preparation.prepare", stop)
    for preset in ("real-smoke", "real"):
        with pytest.raises(TooFewQuestionsError, match="stopped"):
            run(E1, preset, tmp_path / preset, materials=Materials(apart, str(start), "styled"))
    assert asked == [
        (E1.presets[name].styling_steps, E1.presets[name].facts_asked) for name in ("real-smoke", "real")
    ]
    assert asked[0] != asked[1]
