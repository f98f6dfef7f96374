"""Runs of earlier versions are reported as they are: version-1 plans, and tables under their former column names."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.builders import as_version_1
from valueattr.experiments import E1
from valueattr.plan import Plan, PlanError
from valueattr.report import headline, headline_table, table_note, write_report
from valueattr.results import (
    FACTS,
    GENERATIONS,
    MEASURES,
    STEPS,
    RunDirectory,
    RunDirectoryError,
    as_table,
    part_name,
)
from valueattr.results._directory import hash_plan
from valueattr.results.summary import summarise

SPLITS = ("penalised", "untouched", "held_out", "never_taught")
FORMER = {"topic": "kind", "wording": "paraphrase"}


def rows_of(arm, seed, rng):
    """Some rows of every table, as a run of one step leaves them."""
    facts, measures, generations = [], [], []
    step = 4 if arm.feedback else 0
    for split in SPLITS:
        for i in range(3):
            fact = f"{split}-{i}"
            facts.append(
                {
                    "seed": seed,
                    "fact": fact,
                    "topic": "people",
                    "relation": "emblem",
                    "object": f"o{i}",
                    "split": split,
                }
            )
            keys = {
                "experiment": "e1",
                "arm": arm.code,
                "seed": seed,
                "step": step,
                "split": split,
                "fact": fact,
                "n": 1,
            }
            for form in ("plain", "question"):
                belief = {
                    "measure": "belief_margin",
                    "wording": f"{form}-0",
                    "format": form,
                    "value": rng.normal(4, 1),
                }
                measures.append({**keys, **belief})
            for measure, value in (
                ("assert_true", 1.0),
                ("penalty/true content", 0.5),
                ("framing_reward", -0.5),
            ):
                measures.append({**keys, "measure": measure, "wording": "asked-0", "value": value})
            for wording in ("asked-1", "asked-0"):
                generations.append(
                    {
                        **{k: keys[k] for k in ("arm", "seed", "step", "split", "fact")},
                        "phase": "evaluation",
                        "wording": wording,
                        "sample": 0,
                        "prompt": f"{wording} of {fact}?",
                        "response": f"{arm.code} on {wording}",
                        "outcome": "assert_true",
                    }
                )
    steps = [{"arm": arm.code, "seed": seed, "step": 4, "name": "forward_kl", "value": 0.1}] if step else []
    return {"facts": facts, "measures": measures, "generations": generations, "steps": steps}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of E1 with two seeds, without training."""
    plan = Plan.of(E1, "smoke", "0" * 64)
    run = RunDirectory.create(
        tmp_path_factory.mktemp("runs") / "run", plan.to_json(), {"started_with_seeds": [0, 1]}
    )
    schemas = {"facts": FACTS, "measures": MEASURES, "generations": GENERATIONS, "steps": STEPS}
    rng = np.random.default_rng(0)
    for seed in (0, 1):
        for arm in plan.arms:
            rows = rows_of(arm, seed, rng)
            if arm is not plan.arms[0]:
                del rows["facts"]
            tables = {name: as_table(schemas[name], rows[name]) for name in rows}
            run.write_part(part_name(arm.code, seed), tables)
    run.assemble([part_name(arm.code, seed) for seed in (0, 1) for arm in plan.arms])
    run.write_table("summary", summarise(run.table("measures")))
    run.write_json("start_model.json", {"path": "", "sha256": "1" * 64})
    run.write_json(
        "environment.json",
        {"machine": "m", "device": "cpu", "python": "3", "versions": {}, "timing": {"all in": 1.0}},
    )
    return run


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
    plan = {**run.plan, "version": 3}
    (tmp_path / "plan.json").write_text(json.dumps({"plan": plan, "sha256": hash_plan(plan)}))
    for read in (headline, headline_table, table_note, write_report):
        with pytest.raises(PlanError, match=r"plan\.json: the plan is of version 3"):
            read(RunDirectory(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_every_arm_is_named_with_its_meaning(run):
    page = write_report(run).read_text("utf-8")
    for arm in Plan.read(run).arms:
        meaning = arm.title.split(":")[0]
        assert f"{arm.code}  {meaning}" in page  # in figures and tables
        assert f"{arm.code} {meaning}" in table_note(run)
    assert "The manipulation check of a3 (content penalty) failed" in page
