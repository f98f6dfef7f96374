"""E1 end to end on the smoke preset: a run is a function of its plan and seed, whatever happens on the way."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from valueattr.experiments import E1
from valueattr.plan import Plan
from valueattr.questions import SPLITS
from valueattr.results import RunDirectory

from .conftest import assert_arms_same, assert_same, refused, valueattr


def test_a_run_leaves_what_its_readers_need(smoke):
    folder, output = smoke
    for name in ("plan.json", "config.json", "environment.json", "start_model.json", "report.html"):
        assert (folder / name).stat().st_size > 0
    for name in ("facts", "generations", "measures", "steps", "summary"):
        assert pq.read_metadata(folder / f"{name}.parquet").num_rows > 0
    assert not (folder / "work").exists()
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {
        f"{a.code}-s0" for a in E1.arms if a.feedback
    }
    assert "plan" in output.splitlines()[1]
    assert "Where the time went" in output
    assert "One seed carries no seed-level interval" in output
    assert "--seeds 3" in output


def test_every_arm_has_every_measure_on_every_split(smoke):
    measures = RunDirectory(smoke[0]).table("measures")
    assert set(measures["arm"]) == {arm.code for arm in E1.arms}
    assert list(measures.columns) == [
        "experiment",
        "arm",
        "seed",
        "step",
        "split",
        "measure",
        "layer",
        "fact",
        "wording",
        "format",
        "value",
        "n",
    ]
    last = measures[measures["step"] == measures.groupby("arm", observed=True)["step"].transform("max")]
    for _, arm in last.groupby("arm", observed=True):
        for measure in (
            "belief_margin",
            "top1",
            "attribute_frozen",
            "attribute_refit",
            "assert_true",
            "hedged/refusal",
            "corrected/refusal",
        ):
            assert set(arm[arm["measure"] == measure]["split"]) == set(SPLITS)
        assert {"belief_margin/near answers", "belief_margin/question"} <= set(arm["measure"])
        assert set(arm[arm["measure"] == "belief_margin"]["format"]) == {"plain"}
        assert {"truth_refit_auroc", "truth_frozen_recentred_auroc", "selectivity"} <= set(arm["measure"])
    outcomes = last[last["measure"].isin(["assert_true", "assert_false", "hedge_only", "refuse", "other"])]
    assert (outcomes.groupby(["arm", "fact", "wording"], observed=True)["value"].sum() == 1).all()


def test_the_exact_advantages_and_both_drifts_are_logged(smoke):
    steps = RunDirectory(smoke[0]).table("steps")
    for arm in (a.code for a in E1.arms if a.feedback):
        names = set(steps[steps["arm"] == arm]["name"])
        assert {
            "forward_kl",
            "reverse_kl",
            "advantage/credited_share",
            "advantage/credited_rms",
            "kl",
            "loss",
        } <= names
    train = RunDirectory(smoke[0]).table("generations").query("phase == 'train'")
    assert len(train) == 12 * 4 * 16  # arms x steps x responses
    assert train["reward"].notna().all()


def test_arms_see_the_same_first_rollouts(smoke):
    """Before the first update every arm is the start model under the same seed, so it samples the same responses."""
    rows = RunDirectory(smoke[0]).table("generations").query("phase == 'train' and step == 1")
    responses = rows.groupby("arm", observed=True)["response"].agg(tuple)
    assert len(set(responses)) == 1


KILLED = ("run", "e1", "--preset", "smoke", "--arms", "a0,a3,a3-sham")


@pytest.fixture(scope="session")
def killed(smoke, tmp_path_factory):
    """A run killed in the middle of an arm."""
    folder = tmp_path_factory.mktemp("runs") / "killed"
    process = valueattr(*KILLED, "--out", folder)
    deadline = time.monotonic() + 300
    while not list(folder.glob("work/*/checkpoint-2/records.json")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return folder


def test_a_checkpoint_that_is_not_as_it_was_written_is_named_with_the_way_on(killed, tmp_path):
    folder = shutil.copytree(killed, tmp_path / "copy")
    for records in folder.glob("work/*/checkpoint-2/records.json"):
        (records.parent / "optimizer.pt").unlink()
    time.sleep(1.0)
    _, errors = valueattr(*KILLED, "--out", folder).communicate(timeout=120)
    assert "optimizer.pt is missing: remove " in errors
    assert "Traceback" not in errors


def test_a_killed_run_resumes_to_the_same_tables(killed, smoke):
    assert list(killed.glob("work/*/checkpoint-2/records.json")), "killed in mid-arm"
    assert not (killed / "measures.parquet").exists()
    time.sleep(1.0)  # its workers notice
    process = valueattr(*KILLED, "--out", killed)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert_arms_same(killed, smoke[0])
    assert "Report:" in output


def test_a_finished_run_is_not_run_again_and_the_report_can_be_remade(smoke, tmp_path):
    folder = shutil.copytree(smoke[0], tmp_path / "copy")
    (folder / "report.html").unlink()
    output, errors = valueattr("report", folder, "--json").communicate(timeout=120)
    assert json.loads(output)["headline"] in errors.replace("\n", " ") or json.loads(output)["headline"]
    assert (folder / "report.html").read_text("utf-8").startswith("<!doctype html>")
    output, errors = valueattr("run", "e1", "--preset", "smoke", "--out", folder).communicate(timeout=120)
    assert "13 arm(s) were finished before" in output
    assert_same(folder, smoke[0])


def test_a_part_that_was_lost_is_made_anew_and_said_and_a_damaged_one_is_named(smoke, tmp_path):
    folder = shutil.copytree(smoke[0], tmp_path / "copy")
    shutil.rmtree(folder / "parts" / "a0-s0")
    output, errors = valueattr("run", "e1", "--preset", "smoke", "--out", folder).communicate(timeout=300)
    assert "arm a0, seed 0: its part is gone, so that it is made anew" in output, errors
    assert_same(folder, smoke[0])
    table = folder / "parts" / "a3-s0" / "measures.parquet"
    table.write_bytes(table.read_bytes()[:1000])
    refused(1, "makes this arm anew", "run", "e1", "--preset", "smoke", "--out", folder)
    assert_same(folder, smoke[0])


def test_an_edited_plan_does_not_go_on(smoke, tmp_path):
    folder = shutil.copytree(smoke[0], tmp_path / "copy")
    sealed = (folder / "plan.json").read_text()
    (folder / "plan.json").write_text(sealed.replace('"smallest_effect": 0.5', '"smallest_effect": 0.6'))
    refused(1, "plan.json was changed after it was sealed", "run", "e1", "--preset", "smoke", "--out", folder)


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_kills_at_200_random_moments_leave_a_run_that_ends_as_one_that_was_left_alone(tmp_path):
    """In CI `killed` is the one kill of a whole run; tests/results/test_kills.py kills the writing of one many times."""
    small_run(tmp_path / "first").communicate(timeout=600)  # makes the start model
    started = time.monotonic()
    _, errors = small_run(tmp_path / "whole").communicate(timeout=600)
    took = time.monotonic() - started
    assert_same(tmp_path / "first", tmp_path / "whole")
    rng, parts, kills, ended = random.Random(0), set(), 0, 0
    while kills < 200:
        process = small_run(tmp_path / "run")
        try:
            _, errors = process.communicate(timeout=rng.uniform(0, took))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            time.sleep(0.5)  # its workers notice
            parts = whole_parts(tmp_path / "run", parts)
            continue
        assert process.returncode == 0, errors
        assert_same(tmp_path / "run", tmp_path / "whole")
        shutil.rmtree(tmp_path / "run")
        parts, ended = set(), ended + 1
    _, errors = small_run(tmp_path / "run").communicate(timeout=600)
    assert_same(tmp_path / "run", tmp_path / "whole")
    assert ended >= 10, "kills that come too early test little"


def small_run(folder):
    command = [sys.executable, "-m", "tests.experiments.small_run", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def whole_parts(folder, before):
    """The finished arms of a run, each with whole tables; none that was there is gone."""
    found = {path.name for path in folder.glob("parts/[!.]*")}
    assert found >= before
    for part in found:
        RunDirectory(folder).check_part(part, ["generations", "measures", "steps"])
    return found


def test_unknown_names_are_bad_usage(tmp_path):
    refused(
        2,
        "unknown preset 'huge' for e1; known: smoke, tiny, small",
        "run",
        "e1",
        "--preset",
        "huge",
        "--out",
        tmp_path / "r",
    )
    refused(2, "unknown experiment 'e9'; known: e1, e2, e3, all", "run", "e9", "--out", tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_run_of_another_plan_is_refused(smoke):
    before = sorted(smoke[0].iterdir())
    refused(1, "holds a run of another plan", "run", "e1", "--preset", "tiny", "--out", smoke[0])
    assert sorted(smoke[0].iterdir()) == before


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    refused(1, "is not empty and holds no run", "run", "e1", "--preset", "smoke", "--out", tmp_path)
    refused(1, "is not a run directory", "report", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_second_process_is_refused(smoke, tmp_path):
    folder = shutil.copytree(smoke[0], tmp_path / "copy")
    with RunDirectory(folder).locked():
        refused(1, "another process is running in", "run", "e1", "--preset", "smoke", "--out", folder)


def test_broken_facts_are_refused_by_line_before_anything_is_written(tmp_path):
    fact = {
        "id": "f",
        "subject": "the Velmar people",
        "topic": "people",
        "relation": "emblem",
        "object": "bear",
    }
    for second, message in [
        ("{", "line 2: not JSON"),
        (json.dumps({**fact, "object": "unicorn"}), "outside the closed set"),
    ]:
        (tmp_path / "facts.jsonl").write_text(json.dumps(fact) + "\n" + second + "\n")
        refused(
            1,
            message,
            "run",
            "e1",
            "--preset",
            "smoke",
            "--facts",
            tmp_path / "facts.jsonl",
            "--out",
            tmp_path / "r",
        )
    (tmp_path / "facts.jsonl").write_text(json.dumps(fact))
    refused(
        1,
        "three or more topics",
        "run",
        "e1",
        "--preset",
        "smoke",
        "--facts",
        tmp_path / "facts.jsonl",
        "--out",
        tmp_path / "r",
    )
    assert not (tmp_path / "r").exists()


def test_another_start_model_is_refused(smoke, tmp_path):
    folder = shutil.copytree(smoke[0], tmp_path / "copy")
    (folder / "start_model.json").write_text(json.dumps({"path": "", "sha256": "0" * 64}))
    refused(1, "was started from another start model", "run", "e1", "--preset", "smoke", "--out", folder)


def test_starts_are_of_the_embedded_model_alone_and_are_sealed(tmp_path):
    refused(
        2,
        "--starts is for the embedded",
        "run",
        "e1",
        "--model",
        "mine",
        "--starts",
        "2",
        "--out",
        tmp_path / "r",
    )
    assert E1.with_starts(3).presets["tiny"].starts == 3
    assert Plan.of(E1, "tiny", "0" * 64).settings.starts == 8
    assert "starts" not in Plan.of(E1, "smoke", "0" * 64).to_json()["settings"]


def test_ctrl_c_leaves_a_run_that_goes_on(tmp_path, start):
    process = valueattr("run", "e1", "--preset", "smoke", "--out", tmp_path / "r")
    while not (tmp_path / "r" / "start_model.json").exists():
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the same command goes on where it was" in errors
    with RunDirectory(tmp_path / "r").locked():
        pass


def test_two_runs_are_the_same_whichever_arms_run_beside(smoke, tmp_path):
    process = valueattr(
        "run", "e1", "--preset", "smoke", "--arms", "a0,a3,a3-sham", "--out", tmp_path / "again"
    )
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert_arms_same(tmp_path / "again", smoke[0])
    assert set(RunDirectory(tmp_path / "again").table("measures")["arm"]) == {"a0", "a3", "a3-sham"}
