"""Arms in parallel: one single-threaded process per core, or one process where there is a GPU.

Two pinned processes of one thread each do half again as many steps as one process of two threads; unpinned and
oversubscribed ones are many times slower.
"""

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from valueattr.results import RunDirectory

if TYPE_CHECKING:
    from valueattr.experiments._context import Context

_THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


@dataclass(frozen=True)
class Task:
    """One arm under one seed."""

    arm: str
    seed: int


class ArmFailedError(Exception):
    """An arm raised; the message names it and says what."""


OnStep = Callable[[Task, int], None]


def run_tasks(
    run: RunDirectory, context: "Context", tasks: Sequence[Task], gpu: bool, on_step: OnStep
) -> None:
    """Run every task; `on_step(task, step)` is called from one thread as they move, with step -1 at the end of a task.

    Raises:
        ArmFailedError: a task raised. Tasks that had finished are kept; the others stop where they are.
    """
    cores = sorted(os.sched_getaffinity(0))
    workers = 1 if gpu else min(len(cores), len(tasks))
    # Workers fork from a process that has imported the trainers, which takes each seconds, and done nothing else.
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload(["valueattr.experiments._arm"])
    free_cores, messages = forkserver.SimpleQueue(), forkserver.SimpleQueue()
    for core in cores[:workers]:
        free_cores.put(None if gpu else core)
    listener = threading.Thread(target=_listen, args=(messages, on_step), daemon=True)
    listener.start()
    with _threads_per_process(len(cores) if gpu else 1):
        pool = ProcessPoolExecutor(
            workers,
            mp_context=forkserver,
            initializer=_initialise,
            initargs=(run.path, context, free_cores, messages),
        )
        try:
            futures = {pool.submit(_run_task, task): task for task in tasks}
            _await(futures)
        except BaseException:
            for process in list((pool._processes or {}).values()):
                process.kill()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        pool.shutdown()
    messages.put(None)
    listener.join()


def _await(futures: dict[Future[None], Task]) -> None:
    pending = set(futures)
    while pending:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        for future in done:
            if (error := future.exception()) is not None:
                task = futures[future]
                raise ArmFailedError(f"arm {task.arm}, seed {task.seed}: {error}") from error


def _listen(messages: Any, on_step: OnStep) -> None:
    while (message := messages.get()) is not None:
        on_step(*message)


@contextmanager
def _threads_per_process(threads: int) -> Iterator[None]:
    """Libraries read their thread counts when they load, so children must find them in their environment."""
    before = {name: os.environ.get(name) for name in _THREAD_SETTINGS}
    os.environ.update(dict.fromkeys(_THREAD_SETTINGS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


_state: dict[str, Any] = {}


def _initialise(path: Any, context: "Context", free_cores: Any, messages: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    core = free_cores.get()
    if core is not None:
        os.sched_setaffinity(0, {core})
    import datasets
    import torch
    import transformers

    warnings.simplefilter("ignore", FutureWarning)  # transformers' own names for TRL's settings
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    _state.update(run=RunDirectory(path), context=context, messages=messages)


def _die_with_parent() -> None:
    """A killed run must not leave workers that write beside the one that resumes it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_task(task: Task) -> None:
    from valueattr.experiments._arm import run_arm

    context: Context = _state["context"]
    arm = next(arm for arm in context.experiment.arms if arm.code == task.arm)
    run_arm(_state["run"], context, arm, task.seed, lambda step: _state["messages"].put((task, step)))
    _state["messages"].put((task, -1))
