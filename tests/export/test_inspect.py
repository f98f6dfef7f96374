"""Logs of inspect, opened with inspect itself."""

import sys

import pandas as pd
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from tests.report.conftest import finished_run
from valueattr.cli import app
from valueattr.experiments import E1
from valueattr.export import ExportError, export_inspect
from valueattr.outputs import OutputExistsError
from valueattr.plan import Plan
from valueattr.results import FACTS, GENERATIONS, RunDirectory

log = pytest.importorskip("inspect_ai.log")


@pytest.fixture(scope="module")
def run(smoke):
    return RunDirectory(smoke[0])


@pytest.fixture(scope="module")
def logs(run, tmp_path_factory):
    paths = export_inspect(run, tmp_path_factory.mktemp("export") / "logs")
    return {path.name: log.read_eval_log(path) for path in paths}


def test_there_is_a_log_for_each_arm_seed_and_evaluation(run, logs):
    answers = run.table("generations")
    answers = answers[answers["phase"] == "evaluation"]
    evaluations = {tuple(row) for row in answers[["arm", "seed", "step"]].astype(str).to_numpy()}
    found = {(one.eval.metadata["arm"], str(one.eval.metadata["seed"]), str(one.eval.metadata["step"]))
             for one in logs.values()}  # fmt: skip
    assert found == evaluations
    assert sum(len(one.samples) for one in logs.values()) == len(answers)
    assert {one.eval.metadata["plan"] for one in logs.values()} == {run.plan_hash}


def test_a_sample_is_a_fact_and_an_epoch_one_answer_to_it(run, logs):
    one = logs["e1_a3_seed-0_step-00004.eval"]
    answers = run.table("generations")
    answers = answers[(answers["phase"] == "evaluation") & (answers["arm"] == "a3") & (answers["step"] == 4)]
    facts = run.table("facts").set_index("fact")
    assert len({(sample.id, sample.epoch) for sample in one.samples}) == len(one.samples)
    assert one.eval.dataset.sample_ids == sorted(answers["fact"].unique())
    told = {(row.fact, row.wording, row.sample): row for row in answers.itertuples()}
    for sample in one.samples:
        row = told.pop((sample.id, sample.metadata["wording"], sample.metadata["sample"]))
        assert (sample.input, sample.output.completion) == (row.prompt, row.response)
        assert sample.target == facts.loc[sample.id, "object"]
        assert sample.scores["outcome"].value == row.outcome
        assert sample.scores["outcome"].answer == (row.asserted if isinstance(row.asserted, str) else None)
    assert not told


def test_belief_and_verdict_are_those_of_the_tables(run, logs):
    measures, verdicts = run.table("measures"), run.table("verdicts")
    belief = measures[
        (measures["arm"] == "a3") & (measures["step"] == 4) & (measures["measure"] == "belief_margin")
    ]
    belief = belief.groupby("fact", observed=True)["value"].mean()
    verdict = verdicts[verdicts["arm"] == "a3"].set_index("fact")["verdict"]
    one = logs["e1_a3_seed-0_step-00004.eval"]
    for sample in one.samples:
        assert sample.scores["belief"].value == pytest.approx(belief[sample.id])
        assert sample.scores["verdict"].value == verdict[sample.id]
    by_name = {score.name: score.metrics for score in one.results.scores}
    assert by_name["belief"]["mean"].value == pytest.approx(
        belief[sorted({s.id for s in one.samples})].mean()
    )
    outcomes = pd.Series([sample.scores["outcome"].value for sample in one.samples])
    found = {name: metric.value for name, metric in by_name["outcome"].items()}
    assert found == pytest.approx(outcomes.value_counts(normalize=True).to_dict())
    assert not any("verdict" in s.scores for s in logs["e1_a0_seed-0_step-00000.eval"].samples)


def test_inspect_makes_a_table_of_them(run, logs, tmp_path):
    from inspect_ai.analysis import samples_df

    export_inspect(run, tmp_path / "logs")
    table = samples_df(str(tmp_path / "logs"), quiet=True)
    assert len(table) == sum(len(one.samples) for one in logs.values())
    assert {"id", "epoch", "input", "target", "score_outcome", "score_stance"} <= set(table.columns)


def test_the_command_writes_a_folder_that_is_new(run, tmp_path):
    words = ["export", "inspect", str(run.path), "--out", str(tmp_path / "logs")]
    first, again = CliRunner().invoke(app, words), CliRunner().invoke(app, words)
    assert first.exit_code == 0
    assert "inspect view start --log-dir" in first.output.replace("\n", " ")
    assert again.exit_code == 1
    with pytest.raises(OutputExistsError):
        export_inspect(run, tmp_path / "logs")


def test_a_run_without_answers_is_refused(tmp_path):
    trained = finished_run(tmp_path / "run", Plan.of(E1, "smoke", "0" * 64))
    rows = trained.table("generations").assign(phase="train")
    trained.write_table("generations", pa.Table.from_pandas(rows, GENERATIONS, preserve_index=False))
    with pytest.raises(ExportError, match="no answers of evaluations"):
        export_inspect(trained, tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


def test_answers_about_unknown_facts_are_refused_and_not_left_out(tmp_path):
    trained = finished_run(tmp_path / "run", Plan.of(E1, "smoke", "0" * 64))
    rows = trained.table("facts").iloc[1:]
    trained.write_table("facts", pa.Table.from_pandas(rows, FACTS, preserve_index=False))
    with pytest.raises(ExportError, match="table of facts lacks"):
        export_inspect(trained, tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


def test_without_inspect_the_command_says_what_to_install(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "inspect_ai.log", None)
    done = CliRunner().invoke(app, ["export", "inspect", str(run.path), "--out", str(tmp_path / "logs")])
    assert done.exit_code == 1
    assert "pip install inspect-ai" in done.output
