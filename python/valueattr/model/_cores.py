"""The same work on several things at once, each in a process of one thread that is pinned to its own core."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from typing import TypeVar

import torch

from valueattr.model._loading import device
from valueattr.results import end_with_parent

Item = TypeVar("Item")
Result = TypeVar("Result")


def on_own_cores(
    work: Callable[[Item], Result], items: Sequence[Item], done: Callable[[int], None] = lambda count: None
) -> list[Result]:
    """What `work` makes of each item, in order; in this process where there is a GPU.

    A script that calls this needs `if __name__ == "__main__":`, as for every pool of processes.

    work: can be pickled, as a function of a module. done: called with the number of items that are finished.
    """
    cores = sorted(os.sched_getaffinity(0))[: len(items)]
    if not items:
        return []
    if device().type != "cpu":
        results = []
        for count, item in enumerate(items, 1):
            results.append(work(item))
            done(count)
        return results
    context = get_context("forkserver")
    free = context.SimpleQueue()
    for core in cores:
        free.put(core)
    with ProcessPoolExecutor(len(cores), context, _pinned, (free,)) as pool:
        running = [pool.submit(work, item) for item in items]
        try:
            for count, finished in enumerate(as_completed(running), 1):
                finished.result()
                done(count)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        return [finished.result() for finished in running]


def _pinned(free: "SimpleQueue[int]") -> None:
    end_with_parent()
    os.sched_setaffinity(0, {free.get()})
    torch.set_num_threads(1)
