"""`valueattr compare`, on finished runs that were not trained."""

import json

import pytest
from typer.testing import CliRunner

from tests.builders import an_arm, small_plan
from tests.report.conftest import finished_run
from valueattr.cli import app
from valueattr.plan import Contrast


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name in ("first", "second"):
        finished_run(folder / name)
    return folder


def test_a_row_for_every_arm_and_what_its_plan_reads(runs):
    done = CliRunner().invoke(app, ["compare", *map(str, (runs / "first", runs / "second")), "--json"])
    compared = json.loads(done.stdout)["compared"]
    assert {row["arm"] for row in compared} >= {"a0", "a3"}
    assert all(row["difference"] == 0 and row["facts"] == 3 for row in compared)
    assert all(row["p"] is None for row in compared)
    assert "second - first" in done.stderr
    assert "The runs differ" not in done.stderr


def test_a_folder_that_is_no_run_is_one_line(runs, tmp_path):
    done = CliRunner().invoke(app, ["compare", str(runs / "first"), str(tmp_path)])
    assert done.exit_code == 1
    assert "is not a run directory" in done.stderr


def test_what_differs_steers_no_terminal(tmp_path):
    contrast = Contrast("main", "main", "belief_margin", "a1", "a1", "penalised")
    plan = small_plan(arms=[an_arm("a1")], contrasts=[contrast])
    for name, model in (("first", "embedded"), ("second", "[/x]\x1b[2J")):
        finished_run(tmp_path / name, plan.model_copy(update={"model": model}))
    done = CliRunner().invoke(app, ["compare", str(tmp_path / "first"), str(tmp_path / "second")])
    assert done.exit_code == 0, done.output
    assert "The runs differ in model: embedded and [/x]\\x1b[2J" in done.output
    assert "\x1b" not in done.output
