"""`valueattr compare`, on finished runs that were not trained."""

import json

import pytest
from typer.testing import CliRunner

from tests.report.conftest import finished_run
from valueattr.cli import app


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
    assert all(row["p"] == 1 for row in compared)
    assert "second - first" in done.stderr
    assert "The runs differ" not in done.stderr


def test_a_folder_that_is_no_run_is_one_line(runs, tmp_path):
    done = CliRunner().invoke(app, ["compare", str(runs / "first"), str(tmp_path)])
    assert done.exit_code == 1
    assert "is not a run directory" in done.stderr
