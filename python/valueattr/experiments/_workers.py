"""Arms in parallel: one single-threaded process per core, or one process where there is a GPU.

Two pinned processes of one thread each do half again as many steps as one process of two threads; unpinned and
oversubscribed ones are many times slower.
"""

import faulthandler
import multiprocessing
import os
import signal
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

from valueattr.results import RunDirectory, RunDirectoryError, end_with_parent, start_of_seed

if TYPE_CHECKING:
    from valueattr.experiments._context import Context

_THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


@dataclass(frozen=True)
class Task:
    """One arm under one seed."""

    arm: str
    seed: int


class ArmFailedError(Exception):
    """An arm raised or its process died; the message names the arm and seed, says what, and where the log is."""


OnStep = Callable[[Task, int], None]
Work = Callable[[RunDirectory, "Context", Task, Callable[[int], None]], None]
"""Does a task in a worker, and is given what to call with each step that has ended."""


def start_forkserver() -> None:
    """Start the process that workers fork from, unless it is there.

    It imports the trainers, which takes seconds, while its caller goes on; so it is called early.
    """
    multiprocessing.set_forkserver_preload(["valueattr.experiments._arm"])
    before = {name: os.environ.get(name) for name in _THREAD_SETTINGS}
    os.environ.update(dict.fromkeys(_THREAD_SETTINGS, "1"))  # libraries read them when they load
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def run_tasks(
    run: RunDirectory,
    contexts: "Sequence[Context]",
    tasks: Sequence[Task],
    gpu: bool,
    on_step: OnStep,
    work: Work | None = None,
) -> None:
    """Run every task; `on_step(task, step)` is called as they move, with step -1 at the end of a task.

    contexts: one for each start model, which seeds take in turn.

    What workers print goes to logs in the run's folder `work`.

    Raises:
        ArmFailedError: a task raised, or its process died. Tasks that had finished are kept; the others stop.
    """
    cores = sorted(os.sched_getaffinity(0))
    count = 1 if gpu else min(len(cores), len(tasks))
    logs = run.path / "work"
    logs.mkdir(exist_ok=True)
    waiting = deque(tasks)
    start_forkserver()
    workers: list[_Worker] = []
    try:
        for i, core in enumerate(cores[:count]):
            log = logs / f"worker-{i}.log"
            workers.append(_Worker.start(log, None if gpu else core, waiting.popleft()))
        threads = len(cores) if gpu else 1
        for worker in workers:
            worker.send((threads, run, contexts, work or _run_arm, worker.task))
        busy = {worker.pipe: worker for worker in workers}
        while busy:
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]  # of the connections that were given
                step = worker.receive()
                on_step(worker.task, step)
                if step < 0 and waiting:
                    worker.task = waiting.popleft()
                    worker.send(worker.task)
                elif step < 0:
                    worker.send(None)
                    del busy[worker.pipe]
    except BaseException:
        for worker in workers:
            worker.process.kill()
        raise
    finally:
        for worker in workers:
            worker.process.join()


@dataclass
class _Worker:
    """A process that does one task after the other, and the task that it is at."""

    process: BaseProcess
    pipe: Connection
    log: Path
    task: Task
    was_heard: bool = False

    @classmethod
    def start(cls, log: Path, core: int | None, task: Task) -> "_Worker":
        context = multiprocessing.get_context("forkserver")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, log, core))
        process.start()
        theirs.close()  # so that its end is seen when it dies
        return cls(process, ours, log, task)

    def send(self, message: object) -> None:
        try:
            self.pipe.send(message)
        except OSError:
            raise self._died() from None

    def receive(self) -> int:
        """The step that its task has reached.

        Raises:
            ArmFailedError: the task raised, or the process died.
        """
        try:
            message: int | str = self.pipe.recv()
        except (EOFError, OSError):
            raise self._died() from None
        self.was_heard = True
        if isinstance(message, str):
            raise self._failed(message)
        return message

    def _died(self) -> ArmFailedError:
        self.process.join()
        code = self.process.exitcode or 0
        if code < 0:
            memory = ", as when memory runs out" if -code == signal.SIGKILL else ""
            return self._failed(f"its process was ended by {signal.Signals(-code).name}{memory}")
        guard = (
            ""
            if self.was_heard
            else "; a script needs `if __name__ == '__main__':` before it runs experiments"
        )
        return self._failed(f"its process ended with exit code {code}{guard}")

    def _failed(self, why: str) -> ArmFailedError:
        return ArmFailedError(
            f"arm {self.task.arm}, seed {self.task.seed}: {why}. Its log is {self.log}. "
            "Finished arms are kept, and the same run goes on from there."
        )


def _serve(pipe: Connection, log: Path, core: int | None) -> None:
    """The life of a worker. Nothing slow or breakable is imported before its output goes to the log."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    faulthandler.enable()
    end_with_parent()
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        threads, run, contexts, work, task = pipe.recv()
        os.environ.update(dict.fromkeys(_THREAD_SETTINGS, str(threads)))
        while task is not None:
            pipe.send(0)
            work(run, contexts[start_of_seed(task.seed, len(contexts))], task, pipe.send)
            pipe.send(-1)
            task = pipe.recv()
    except RunDirectoryError as error:
        traceback.print_exc()
        pipe.send(str(error))
    except Exception as error:
        traceback.print_exc()
        pipe.send(f"{type(error).__name__}: {error}".partition("\n")[0])


def _run_arm(run: RunDirectory, context: "Context", task: Task, report: Callable[[int], None]) -> None:
    import torch

    from valueattr.experiments._arm import run_arm

    quiet_libraries()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    arm = next(arm for arm in context.experiment.arms if arm.code == task.arm)
    run_arm(run, context, arm, task.seed, report)


def quiet_libraries() -> None:
    """Keep the libraries that train from telling what a run tells better."""
    import datasets
    import transformers

    warnings.simplefilter("ignore", FutureWarning)  # transformers' own names for TRL's settings
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
