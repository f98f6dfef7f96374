"""A model and facts of one's own, from the command line to the report."""

import json
from pathlib import Path

import pytest

from valueattr.plan import Plan
from valueattr.results import RunDirectory
from valueattr.world import World, statement, synthesise

from .conftest import refused, valueattr

STORIES = Path(__file__).parents[3] / "shared" / "models" / "stories260K"

# Subjects per topic.
FEW = {"well_known": 3, "half_known": 1, "false_belief": 1, "never_taught": 1}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Facts of one relation, and true and false statements of them, as files."""
    folder = tmp_path_factory.mktemp("own")
    world = synthesise(0)
    facts = []
    for topic in world.english.topics:
        for exposure, count in FEW.items():
            of_topic = [
                f for f in world.facts if (f.topic, f.exposure, f.relation) == (topic, exposure, "emblem")
            ]
            facts += of_topic[:count]
    small = World({"emblem": world.relations["emblem"]}, tuple(facts))
    small.save(folder / "facts.jsonl")
    rows = []
    for fact in (f for f in facts if f.exposure == "well_known"):
        objects = small.relation_of(fact).objects
        wrong = next(o for o in objects if o != fact.object)
        for value in (fact.object, wrong):
            text = statement("the emblem of {s} is the {o}", fact, value)
            rows.append({"statement": text, "label": value == fact.object})
    (folder / "statements.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.mark.parametrize(
    "source",
    [
        "untrained",
        pytest.param(
            "stories",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(not STORIES.is_dir(), reason="the model is not at hand"),
            ],
        ),
    ],
)
def test_a_model_of_ones_own_is_taught_and_run_to_its_report(own, untrained, source, tmp_path, monkeypatch):
    monkeypatch.setenv("VALUEATTR_CACHE", str(tmp_path / "cache"))
    model = STORIES if source == "stories" else untrained
    options = ["--preset", "smoke", "--facts", own / "facts.jsonl", "--statements", own / "statements.jsonl"]
    process = valueattr(
        "run", "e1", "--model", model, *options, "--arms", "a0,a3,a3-sham", "--out", tmp_path / "run"
    )
    output, errors = process.communicate(timeout=570)
    assert process.returncode == 0, errors
    assert "of the taught facts it knew" in output
    run = RunDirectory(tmp_path / "run")
    # By chance 1/16 of first choices are right; what is taught has no word in common with how it is asked about.
    assert run.start_model["known_before"] < 0.15 < run.start_model["known_after"]
    measures = run.table("measures").astype({"arm": str, "measure": str, "split": str})
    statements = measures[measures["split"] == "statements"]
    assert set(statements["arm"]) == {arm.code for arm in Plan.read(run).arms}  # read before (a0) and after
    assert len(statements[(statements["measure"] == "statement/log_p") & (statements["arm"] == "a0")]) == 24
    page = (run.path / "report.html").read_text("utf-8")
    assert "of the taught facts and knows" in page
    assert "Own statements, true against false" in page


def test_what_cannot_be_studied_is_said_before_anything_is_written(own, tmp_path):
    (tmp_path / "statements.csv").write_text("statement,label\nx,perhaps\n")
    for options, message in (
        (["--model", tmp_path], "has no tokenizer that can be loaded"),
        (["--statements", tmp_path / "statements.csv"], "line 2: `label` is 'perhaps'"),
    ):
        refused(1, message, "run", "e1", "--preset", "smoke", *options, "--out", tmp_path / "r")
        assert not (tmp_path / "r").exists()
