import os
import time
from functools import partial

import pytest
import torch

from valueattr.model import on_own_cores


def where(item, more):
    """The item, the cores that may be used and the number of threads."""
    if item == "bad":
        raise ValueError("what was raised there")
    time.sleep(0.3)  # else one process could do all before the others are there
    return item + more, os.sched_getaffinity(0), torch.get_num_threads()


def test_each_item_has_a_core_and_a_thread_and_results_are_in_order():
    cores = os.sched_getaffinity(0)
    done = []
    found = on_own_cores(partial(where, more=1), range(4), done.append)
    assert [value for value, _, _ in found] == [1, 2, 3, 4]
    assert done == [1, 2, 3, 4]
    if len(cores) > 1 and not torch.cuda.is_available():
        assert all(len(own) == 1 and threads == 1 for _, own, threads in found)
        assert len({min(own) for _, own, _ in found}) == min(4, len(cores))
    assert os.sched_getaffinity(0) == cores


def test_one_item_has_one_thread_as_several_have():
    (found,) = on_own_cores(partial(where, more=1), [1])
    assert found == (2, {min(os.sched_getaffinity(0))}, 1)
    assert on_own_cores(partial(where, more=1), []) == []


def test_what_is_raised_is_raised():
    with pytest.raises(ValueError, match="what was raised there"):
        on_own_cores(partial(where, more=""), ["a", "bad"])
