"""A writer that is killed leaves a run directory as it was or further, and whoever comes after it goes on."""

import os
import random
import signal
import time

import pytest

from valueattr.results import STEPS, RunDirectory, RunDirectoryError, as_table

PLAN = {"experiment": "e1"}
PARTS = [f"a{i}-s0" for i in range(12)]


def steps_of(part):
    rows = [{"arm": part, "seed": 0, "step": step, "name": "loss", "value": step / 7} for step in range(500)]
    return as_table(STEPS, rows)


def write_all(path):
    """Starts a run or goes on with it, to its end."""
    run = RunDirectory.create(path, PLAN, {"started_with_seeds": [0]})
    with run.locked():
        for part in PARTS:
            if not run.has_part(part):
                run.write_part(part, {"steps": steps_of(part)})
        run.assemble(PARTS)
        run.write_json(
            "environment.json", {"machine": "", "device": "", "python": "", "versions": {}, "timing": {}}
        )
    return run


def killed_after(seconds, path):
    """Whether the kill came before the end."""
    child = os.fork()
    if child == 0:
        try:
            write_all(path)
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("moments", [25, pytest.param(1000, marks=pytest.mark.slow)])
def test_kills_at_random_moments_leave_what_was_there_or_more(tmp_path, moments):
    started = time.perf_counter()
    expected = write_all(tmp_path / "whole").table("steps")
    whole = time.perf_counter() - started
    rng = random.Random(0)
    kills = directories = 0
    while kills < moments:
        path, before = tmp_path / f"run-{directories}", set()
        directories += 1
        while kills < moments and killed_after(rng.uniform(0, whole / 3), path):
            kills += 1
            if not path.exists() or not (path / "plan.json").exists():
                continue
            run = RunDirectory(path)
            assert run.plan_is_intact
            finished = {part for part in PARTS if run.has_part(part)}
            assert finished >= before
            before = finished
            for part in finished:
                run.check_part(part, ["steps"])
            if (path / "steps.parquet").exists():
                assert run.table("steps").equals(expected)
        run = write_all(path)
        assert run.table("steps").equals(expected)
        assert run.config == {"started_with_seeds": [0]}
        assert not list(path.rglob(".writing-*"))


def test_a_run_that_was_killed_while_it_sealed_its_plan_is_begun_anew(tmp_path):
    (tmp_path / ".writing-plan.json-x").mkdir()
    (tmp_path / ".writing-plan.json-x" / "plan.json").write_text("{")
    assert RunDirectory.create(tmp_path, PLAN, {}).plan == PLAN
    (tmp_path / "config.json").unlink()  # killed between the two files
    assert RunDirectory.create(tmp_path, PLAN, {"preset": "smoke"}).config == {"preset": "smoke"}
    (tmp_path / "config.json").unlink()
    (tmp_path / "parts").mkdir()
    with pytest.raises(
        RunDirectoryError, match=r"config\.json"
    ):  # what a measured run was started with is not made up
        _ = RunDirectory.create(tmp_path, PLAN, {"preset": "smoke"}).config
