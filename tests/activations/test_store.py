import itertools
import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.builders import a_store
from valueattr.activations import ActivationStore, JournalError, StoreError, rebuild_journal

WIDTH = 24


def write(path, shards, dtype="float32", seed=0):
    """A store of layers 2 and 5 with so many rows in each shard, and what was written."""
    rng = np.random.default_rng(seed)
    layers = {layer: rng.normal(size=(sum(shards), WIDTH)).astype(np.float32) for layer in (2, 5)}
    store = a_store(path, layers, {"id": [str(i) for i in range(sum(shards))]}, shards=shards, dtype=dtype)
    kept = {k: torch.from_numpy(v).to(getattr(torch, dtype)).float().numpy() for k, v in layers.items()}
    return store, kept


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shards", [[7], [3, 0, 5, 1]])
def test_every_way_to_read_gives_what_was_written(tmp_path, dtype, shards):
    store, written = write(tmp_path / "s", shards, dtype)
    rows = np.array([4, 0, 4, store.rows - 1])
    for layer, values in written.items():
        np.testing.assert_array_equal(store.read(layer), values)
        np.testing.assert_array_equal(store.tensor(layer).float().numpy(), values)
        np.testing.assert_array_equal(store.gather(rows)[layer], values[rows])
        if dtype != "bfloat16":
            np.testing.assert_array_equal(
                np.concatenate(store.views(layer)), values.astype(store.read(layer).dtype)
            )
    assert store.tensor(2).dtype == getattr(torch, dtype)
    assert store.index()["id"].to_pylist() == [str(i) for i in range(store.rows)]
    copy = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(copy.read(5), store.read(5))


def test_views_are_of_the_files(tmp_path):
    store, _ = write(tmp_path / "s", [3, 4], "bfloat16")
    assert all(isinstance(view, np.memmap) for view in store.views(2))
    one, _ = write(tmp_path / "one", [3])
    assert isinstance(one.read(2), np.memmap)
    assert one.tensor(2).data_ptr() % 16 == 0


def test_what_is_not_there_is_named(tmp_path):
    store, _ = write(tmp_path / "s", [3])
    with pytest.raises(KeyError, match=r"layer 3 was not captured; captured: \[2, 5\]"):
        store.read(3)
    with pytest.raises(KeyError, match="no capture 'other'; there is texts"):
        store.texts("other")
    for row in (3, -1):
        with pytest.raises(StoreError, match="there is no row"):
            store.gather(np.array([row]))
    with pytest.raises(ValueError, match="a batch of 0 rows"):
        store.order(0)


def test_a_store_without_rows(tmp_path):
    store, _ = write(tmp_path / "s", [])
    assert store.rows == len(store.index()) == 0
    assert store.read(2).shape == store.gather(np.array([], np.int64))[5].shape == (0, WIDTH)
    assert store.tensor(2).shape == (0, WIDTH)
    assert list(store.batches(4)) == []


def test_batches_go_on_from_a_state(tmp_path):
    store, written = write(tmp_path / "s", [30, 1, 44])
    order = store.order(8, seed=3)
    before = [batch.rows for batch in itertools.islice(store.batches(8, order=order), 3)]
    state = order.state_dict()
    rest = store.order(8, seed=3)
    rest.load_state_dict(state)
    after = list(store.batches(8, [5], order=rest))
    for batch in after:
        assert list(batch.states) == [5]
        np.testing.assert_array_equal(batch.states[5], written[5][batch.rows])
    seen = np.concatenate([*before, *(batch.rows for batch in after)])
    assert sorted(set(seen.tolist())) == list(range(75))


def test_a_batch_that_is_kept_is_not_overwritten(tmp_path):
    store, written = write(tmp_path / "s", [300])
    kept, views, seen = [], [], set()
    for i, batch in enumerate(store.batches(10, [2])):
        seen.add(batch.states[2].ctypes.data)
        if i % 3 == 0:
            kept.append(batch)
        elif i % 3 == 1:
            views.append((batch.rows, torch.from_numpy(batch.states[2])[:, 1:]))
        del batch
    for batch in kept:
        np.testing.assert_array_equal(batch.states[2], written[2][batch.rows])
    for rows, view in views:
        np.testing.assert_array_equal(view.numpy(), written[2][rows][:, 1:])
    assert len(seen) < 30, "no buffer was used again"


@pytest.mark.parametrize("method", [None, "fork", "spawn"])
def test_a_data_loader_reads_it_with_workers(tmp_path, method):
    store, written = write(tmp_path / "s", [30, 31])
    workers = (
        {"num_workers": 2, "multiprocessing_context": multiprocessing.get_context(method)} if method else {}
    )
    loader = DataLoader(store.dataset([2]), sampler=store.order(16), batch_size=None, **workers)
    seen = []
    for batch in loader:
        np.testing.assert_array_equal(batch[2].numpy(), written[2][batch["rows"].numpy()])
        seen += batch["rows"].tolist()
    assert sorted(seen) == list(range(61))


def test_a_shard_that_is_cut_is_an_error_not_a_crash(tmp_path):
    store, _ = write(tmp_path / "s", [5, 3])
    shard = sorted((tmp_path / "s").glob("shard-*"))[1]
    with shard.open("r+b") as file:
        file.truncate(100)
    store.gather(np.arange(5))
    with pytest.raises(StoreError, match=f"{shard.name}: it changed while it was read"):
        store.gather(np.arange(8))


def test_verify_finds_any_flipped_bit(tmp_path):
    store, _ = write(tmp_path / "s", [3, 2])
    store.verify()
    file = tmp_path / "s" / "shard-00001.safetensors"
    whole = file.read_bytes()
    for at in range(0, len(whole), 37):
        torn = bytearray(whole)
        torn[at] ^= 1 << at % 8
        file.write_bytes(torn)
        with pytest.raises(StoreError, match="shard-00001"):
            ActivationStore(tmp_path / "s").verify()


def test_a_store_prints_what_it_holds(tmp_path):
    store, _ = write(tmp_path / "s", [3, 1], "bfloat16")
    assert repr(store) == (
        f"ActivationStore({str(tmp_path / 's')!r}: 4 rows of texts; layers 2, 5 of 24 bfloat16 values)"
    )
    layers = {layer: np.zeros((1, 8), np.float32) for layer in range(5)}
    many = a_store(tmp_path / "many", layers, {"id": ["a"]})
    assert "1 rows of texts; layers 0 to 4 of 8 float32 values" in str(many)
    empty, _ = write(tmp_path / "empty", [])
    assert "0 rows of no capture" in repr(empty)


@pytest.mark.parametrize("lost", ["journal.jsonl", "manifest.json"])
def test_a_store_without_its_journal_read_as_empty(tmp_path, lost):
    store, written = write(tmp_path / "s", [3, 2])
    (tmp_path / "s" / lost).unlink()
    with pytest.raises(JournalError, match=f"{lost}: it is missing"):
        ActivationStore(tmp_path / "s")
    assert rebuild_journal(tmp_path / "s") == ((0, 2) if lost == "journal.jsonl" else (2, 0))
    back = ActivationStore(tmp_path / "s")
    back.verify()
    assert back.index() == store.index()
    np.testing.assert_array_equal(back.read(5), written[5])


def test_several_captures_are_rebuilt_from_what_their_shards_say(tmp_path):
    layers = {2: np.arange(40, dtype=np.float32).reshape(10, 4)}
    names = [{"id": [f"{capture}{i}" for i in range(5)]} for capture in "ab"]
    before = a_store(tmp_path / "s", layers, *names, captures=("a", "b"), shards=[2, 3]).index()
    (tmp_path / "s" / "journal.jsonl").write_text("nothing of the kind\n")
    with pytest.raises(JournalError, match=r"journal\.jsonl: its first line is not that of a journal"):
        ActivationStore(tmp_path / "s")
    assert rebuild_journal(tmp_path / "s") == (0, 4)
    assert ActivationStore(tmp_path / "s").index() == before
