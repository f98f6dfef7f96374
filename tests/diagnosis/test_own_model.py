"""A model of another kind than the embedded one: its controls are made of it."""

from pathlib import Path

import pytest

from valueattr.diagnosis import TextRecipe, diagnose, planted, taught_base
from valueattr.diagnosis._controls import _invented
from valueattr.model import load_tokenizer
from valueattr.world import training_text

STORIES = Path(__file__).parents[3] / "shared" / "models" / "stories260K"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not STORIES.is_dir(), reason="the model is not at hand")
def test_a_real_small_model_gets_controls_of_its_own_and_a_verdict(world, tmp_path, monkeypatch):
    """Ten minutes on one core that nothing else uses."""
    monkeypatch.setenv("VALUEATTR_CACHE", str(tmp_path))
    base = taught_base(str(STORIES), world, 0)
    after = planted(base, TextRecipe("mixed", plain=True))
    told = []
    facts = base.world.with_facts(fact for fact in base.world.facts if fact.id not in base.removed)
    found = diagnose(base.folder, after, facts, say=told.append)
    errors = found.calibrated.errors().set_index(["recipe", "by"])
    assert errors.loc[("all", "all"), "auroc"] > 0.7
    assert set(found.verdicts["verdict"]) <= {"kept", "hidden", "lost", "unsure", "not known before"}
    assert any("controls" in text for text in told)


def test_controls_are_of_subjects_that_nobody_knows_and_of_the_relations_that_are_studied(start, world):
    tokenizer = load_tokenizer(start)
    of_bases = [_invented(world, tokenizer, number) for number in (0, 1)]
    assert of_bases[0].facts == _invented(world, tokenizer, 0).facts
    relations = [list(invented.by_relation()) for invented in of_bases]
    assert all(len(two) == 2 for two in relations)
    assert relations[0][0] != relations[1][0]
    subjects = [{fact.subject for fact in invented.facts} for invented in of_bases]
    assert not subjects[0] & set(world.subjects)
    assert subjects[0] != subjects[1]
    assert len(of_bases[0].facts) == 192
    assert all(fact.taught == fact.object for fact in of_bases[0].facts)
    assert len(list(training_text(of_bases[0], 200, seed=0))) == 200
    assert len({fact.id for fact in of_bases[0].facts}) == 192


def test_controls_are_of_the_embedded_relations_where_ones_own_have_too_few_names(start, world):
    tokenizer = load_tokenizer(start)
    of_one_fact = _invented(world.with_facts([world.facts[0]]), tokenizer, 0)
    assert of_one_fact.facts == _invented(world, tokenizer, 0).facts
