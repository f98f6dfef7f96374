"""Runs of earlier versions are reported as they are: version-1 plans, and tables under their former column names."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.builders import as_version_1
from valueattr.experiments import E1
from valueattr.plan import PLAN_VERSION, Plan, PlanError
from valueattr.report import headline, headline_table, table_note, write_report
from valueattr.results import MEASURES, RunDirectory, RunDirectoryError
from valueattr.results._directory import hash_plan

from .conftest import finished_run

FORMER = {"topic": "kind", "wording": "paraphrase"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Under the rule that plans had before, so that what it finds is the same."""
    plan = Plan.of(E1, "smoke", "0" * 64).model_copy(update={"rule": "holm"})
    return finished_run(tmp_path_factory.mktemp("runs") / "run", plan)


def as_made_before(run, folder):
    """A copy as the first version would have left it."""
    before = RunDirectory.create(folder, as_version_1(Plan.read(run)), run.config)
    for path in run.path.rglob("*"):
        copy = folder / path.relative_to(run.path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            pq.write_table(
                table.rename_columns([FORMER.get(name, name) for name in table.column_names]), copy
            )
        elif path.name in ("start_model.json", "environment.json"):
            copy.write_bytes(path.read_bytes())
    return before


def test_a_run_made_before_is_reported_as_one_of_today(run, tmp_path):
    before = as_made_before(run, tmp_path / "before")
    assert pq.read_schema(before.path / "facts.parquet").names[3] == "kind"
    assert before.plan["order"][0] == "a0"
    pages = [write_report(made).read_text("utf-8") for made in (before, run)]
    assert before.plan_is_intact
    assert pages[0].replace(before.plan_hash[:16], run.plan_hash[:16]) == pages[1]
    assert "a3 on asked-0" in pages[0]  # the first wording, found under its former column name
    for read in (headline, headline_table, table_note):
        assert read(before) == read(run)


def test_more_seeds_for_a_run_made_before_make_a_run_of_their_own(run, tmp_path):
    before = as_made_before(run, tmp_path / "before")
    one_seed = run.table("measures").query("seed == 0")
    before.write_table("measures", pa.Table.from_pandas(one_seed, schema=MEASURES, preserve_index=False))
    assert "makes a run of 3 seeds; this one was made by an earlier valueattr" in headline(before)
    with pytest.raises(RunDirectoryError, match="holds a run of another plan"):
        RunDirectory.create(before.path, run.plan, {})


def test_a_run_of_a_later_version_is_not_half_reported(run, tmp_path):
    plan = {**run.plan, "version": PLAN_VERSION + 1}
    (tmp_path / "plan.json").write_text(json.dumps({"plan": plan, "sha256": hash_plan(plan)}))
    for read in (headline, headline_table, table_note, write_report):
        with pytest.raises(PlanError, match=rf"plan\.json: the plan is of version {PLAN_VERSION + 1}"):
            read(RunDirectory(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_every_arm_is_named_with_its_meaning(run):
    page = write_report(run).read_text("utf-8")
    for arm in Plan.read(run).arms:
        meaning = arm.title.split(":")[0]
        assert f"{arm.code}  {meaning}" in page  # in figures and tables
        assert f"{arm.code} {meaning}" in table_note(run)
    assert "The manipulation check of a3 (content penalty) failed" in page
