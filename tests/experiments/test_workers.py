"""A worker that fails or dies leaves one line that names its arm, its seed and its log."""

import os
import signal
import sys
from pathlib import Path

import pytest

from valueattr.experiments import ArmFailedError
from valueattr.experiments._workers import Task, run_tasks
from valueattr.results import RunDirectory, RunDirectoryError

TASKS = [Task("a0", 0), Task("a1", 0), Task("a3", 0), Task("a3", 1)]


def in_two_steps(run, context, task, report):
    report(1)
    report(2)
    (run.path / f"{task.arm}-{task.seed}").write_text(str(context))


def killed(run, context, task, report):
    if task == TASKS[2]:
        print("almost there", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    in_two_steps(run, context, task, report)


def raising(run, context, task, report):
    raise ModuleNotFoundError("No module named 'trl'\nand more of it")


def damaged(run, context, task, report):
    raise RunDirectoryError("the checkpoint is damaged: remove it")


def leaving(run, context, task, report):
    sys.exit(3)


class Unreadable:
    """What cannot be imported where the worker reads it."""

    def __reduce__(self):
        return __import__, ("no_such_module",)


@pytest.fixture
def run(tmp_path):
    return RunDirectory.create(tmp_path / "run", {"experiment": "e1"}, {})


def test_every_task_is_done_and_its_steps_are_told(run):
    told = []
    run_tasks(
        run, ["context", "another"], TASKS, False, lambda task, step: told.append((task, step)), in_two_steps
    )
    for task in TASKS:
        assert [step for of, step in told if of == task] == [0, 1, 2, -1]
        assert (run.path / f"{task.arm}-{task.seed}").read_text() == ("another" if task.seed else "context")


@pytest.mark.parametrize(
    ("work", "context", "arm", "why"),
    [
        (killed, None, "arm a3, seed 0", "its process was ended by SIGKILL, as when memory runs out"),
        (raising, None, "arm a", "ModuleNotFoundError: No module named 'trl'."),
        (damaged, None, "arm a", "seed 0: the checkpoint is damaged: remove it."),
        (leaving, None, "arm a", "its process ended with exit code 3"),
        (in_two_steps, Unreadable(), "arm a", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_a_worker_that_ends_early_leaves_one_line_and_a_log(run, capfd, work, context, arm, why):
    with pytest.raises(ArmFailedError) as failed:
        run_tasks(run, [context], TASKS, False, lambda task, step: None, work)
    said = str(failed.value)
    assert said.startswith(arm)
    assert why in said
    assert "\n" not in said
    text = Path(said.partition("Its log is ")[2].partition(".log")[0] + ".log").read_text()
    if work is killed:
        assert "almost there" in text
    elif work is not leaving:
        assert "Traceback" in text
    assert capfd.readouterr() == ("", "")
