import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from valueattr.activations import RowOrder

ORDERS = {
    "rows": st.integers(0, 3000),
    "row_bytes": st.sampled_from([2, 4096, 100_000, 600_000]),
    "size": st.integers(1, 700),
    "seed": st.integers(0, 5),
    "shuffle": st.booleans(),
}


@given(**ORDERS)
def test_every_row_comes_once_an_epoch(rows, row_bytes, size, seed, shuffle):
    order = RowOrder(rows, row_bytes, size, seed, shuffle)
    for epoch in range(2):
        batches = list(order)
        assert order.state_dict() == {"epoch": epoch + 1, "batch": 0}
        assert len(batches) == len(order)
        assert all(len(batch) == size for batch in batches[:-1])
        assert sorted(np.concatenate([[], *batches])) == list(range(rows))


@given(**ORDERS, stop=st.integers(0, 20))
def test_a_resumed_order_is_the_same(rows, row_bytes, size, seed, shuffle, stop):
    whole = [
        b.tolist()
        for order in [RowOrder(rows, row_bytes, size, seed, shuffle)]
        for _ in (0, 1)
        for b in order
    ]
    begun = RowOrder(rows, row_bytes, size, seed, shuffle)
    taken = [batch.tolist() for batch in itertools.islice(begun, stop)]
    resumed = RowOrder(rows, row_bytes, size, seed, shuffle)
    resumed.load_state_dict(begun.state_dict())
    rest = [batch.tolist() for _ in range(2 - resumed.state_dict()["epoch"]) for batch in resumed]
    assert whole[: len(taken)] == taken
    assert whole[len(taken) :] == rest


def test_order_depends_on_seed_and_epoch_and_is_local():
    order = RowOrder(102_400, 8192, 4096, seed=1)
    first, second = np.concatenate(list(order)), np.concatenate(list(order))
    other = np.concatenate(list(RowOrder(102_400, 8192, 4096, seed=2)))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert abs(np.corrcoef(first, np.arange(len(first)))[0, 1]) < 0.05
    # A window of four batches reads 256 blocks of 64 rows, not 16,384 places.
    assert len(np.unique(first[: 4 * 4096] // 64)) == 256
