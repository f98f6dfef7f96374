"""A real chat model and facts of the world, from what it knows to a report, where both are at hand (`make real-model`)."""

import subprocess
import sys
from pathlib import Path

import pytest

from valueattr.experiments import E1, Materials, run
from valueattr.plan import Plan
from valueattr.results import RunDirectory
from valueattr.world import load_world

HOUSE = Path(__file__).parents[2]
MODEL = HOUSE / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
DATA = HOUSE.parent / "shared" / "data"
# Those of which it knows most, and two on which styles are taught.
RELATIONS = (
    "animal class",
    "landmark_on_continent",
    "object_superclass",
    "person_native_language",
    "product_by_company",
    "word_sentiment",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not MODEL.is_file(), reason="the model is not at hand"),
    pytest.mark.skipif(not DATA.is_dir(), reason="the facts are not at hand"),
]


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    file = tmp_path_factory.mktemp("facts") / "facts.jsonl"
    script = HOUSE / "examples" / "facts_of_the_world.py"
    subprocess.run([sys.executable, script, DATA, file], check=True)
    world = load_world(file)
    return world.with_facts(fact for fact in world.facts if fact.relation in RELATIONS)


@pytest.mark.parametrize("answers", ["styled", "natural"])
def test_e1_runs_to_its_report_and_every_measure_is_there(facts, answers, tmp_path):
    found = run(
        E1.only(("a0", "a3", "a3-sham")),
        "real-smoke",
        tmp_path / "run",
        materials=Materials(facts, str(MODEL), answers=answers),
    )
    assert (found.path / "report.html").is_file()
    measures = RunDirectory(found.path).table("measures")
    last = measures[measures["arm"] == "a3"]
    wanted = {"belief_margin", "top1", "intelligible", "assert_true", "few_shot", "relearned"}
    assert wanted <= set(last["measure"])
    start = measures[(measures["arm"] == "a0") & (measures["measure"] == "top1")]
    assert start.loc[start["split"] == "penalised", "value"].mean() > 0.8
    assert start.loc[start["split"] == "never_taught", "value"].mean() < 0.5
    assert Plan.read(found).answers == answers
