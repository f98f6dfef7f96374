"""A model of another kind than the embedded one: its controls are made of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from valueattr.diagnosis import TextRecipe, diagnose, planted, taught_base

STORIES = Path(__file__).parents[3] / "shared" / "models" / "stories260K"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not STORIES.is_dir(), reason="the model is not at hand")
def test_a_real_small_model_gets_controls_of_its_own_and_a_verdict(tmp_path, monkeypatch):
    """Ten minutes on one core that nothing else uses."""
    monkeypatch.setenv("VALUEATTR_CACHE", str(tmp_path))
    base = taught_base(str(STORIES), 0)
    after = planted(base, TextRecipe("mixed", plain=True))
    facts = tuple(fact for fact in base.world.facts if fact.id not in base.removed)
    told = []
    found = diagnose(base.folder, after, replace(base.world, facts=facts), say=told.append)
    errors = found.calibrated.errors().set_index(["recipe", "by"])
    assert errors.loc[("all", "all"), "auroc"] > 0.7
    assert set(found.verdicts["verdict"]) <= {"kept", "hidden", "lost", "unsure", "not known before"}
    assert any("controls" in text for text in told)
