"""Captured activations, read back: views of the files, gathered rows, shuffled batches that resume.

Importing this does not import torch.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from valueattr import _core
from valueattr._core import StoreError

if TYPE_CHECKING:
    import torch

__all__ = ["ActivationStore", "Batch", "Layer", "RowOrder", "StoreError"]

_NUMPY: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
}

# Rows that lie side by side are read together: half a megabyte is nearly as fast as all in a row.
_BLOCK_BYTES = 512 << 10
# Rows are shuffled among this many blocks, or batches' worth of rows, whichever is more.
_WINDOW_BLOCKS = 64
_WINDOW_BATCHES = 4

_MOST_BUFFERS = 32


@dataclass(frozen=True)
class Batch:
    """`rows` (n,) of the store, and of each layer their `states` (n, width) in float32."""

    rows: NDArray[np.int64]
    states: dict[int, NDArray[np.float32]]


@dataclass(frozen=True)
class Layer:
    """A layer of a store, whose rows are on the disk."""

    source: tuple[_core.StoreReader, int]
    """The reader and the layer's index in it, as the compiled parts take it."""

    @property
    def rows(self) -> int:
        """Rows, in the order of the store."""
        return self.source[0].rows

    @property
    def width(self) -> int:
        """Values per row."""
        return self.source[0].width


class ActivationStore:
    """Captured rows of several layers, in the order in which they were captured.

    It can be handed to other processes: they open the folder anew.

    Raises:
        StoreError: the folder is no store, is of another version, or a shard is missing, cut or another file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._reader = _core.StoreReader(self.path)
        self.layers: tuple[int, ...] = tuple(self._reader.layers)
        self.width = self._reader.width
        self.dtype = self._reader.dtype
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def __reduce__(self) -> tuple[type["ActivationStore"], tuple[Path]]:
        return ActivationStore, (self.path,)

    @property
    def rows(self) -> int:
        """Rows of every layer."""
        return self._reader.rows

    def __len__(self) -> int:
        return self.rows

    @property
    def captures(self) -> tuple[str, ...]:
        """Names of the captures that have rows, in the order in which they began."""
        return tuple(dict.fromkeys(capture for capture, _, _ in self._reader.shards))

    def texts(self, capture: str) -> pa.Table:
        """One row per text of a capture, committed or not: `id`, `text` and whatever columns came with it.

        Raises:
            KeyError: there is no such capture.
        """
        path = self.path / texts_file(capture)
        if not path.exists():
            raise KeyError(f"there is no capture {capture!r}; there is {', '.join(self.captures) or 'none'}")
        return pq.read_table(path)

    def index(self) -> pa.Table:
        """One row per row of the store: `capture`, `token` (counted from 0, null for a mean) and its text's columns."""
        text, token = self._reader.sources()
        of_shard = [np.full(rows, self.captures.index(capture)) for capture, _, rows in self._reader.shards]
        capture_of = np.concatenate([np.empty(0, np.int64), *of_shard])
        parts, places = [], []
        for i, capture in enumerate(self.captures):
            at = np.flatnonzero(capture_of == i)
            own = self.texts(capture).take(text[at])
            own = own.add_column(0, "token", pa.array(token[at], mask=token[at] < 0))
            parts.append(own.add_column(0, "capture", pa.array([capture] * len(at), pa.string())))
            places.append(at)
        if not parts:
            kinds = {"capture": pa.string(), "token": pa.int64(), "id": pa.string(), "text": pa.string()}
            return pa.schema(kinds.items()).empty_table()
        # Captures that went on in turns lie in turns.
        order = np.argsort(np.concatenate(places), kind="stable")
        return pa.concat_tables(parts, promote_options="permissive").take(order)

    def read(self, layer: int) -> NDArray[Any]:
        """The rows of a layer, (rows, width): a view of the file if they lie in one shard, else a copy.

        bfloat16, which numpy lacks, comes as float32.

        Raises:
            KeyError: the layer was not captured.
        """
        if self.dtype == "bfloat16":
            return self.gather(np.arange(self.rows), [layer])[layer]
        parts = self.views(layer)
        return parts[0] if len(parts) == 1 else np.concatenate([self._none(), *parts])

    def views(self, layer: int) -> list[NDArray[Any]]:
        """The rows of a layer in each shard, (rows, width) each, as they lie in the file; bfloat16 as its bits, uint16.

        Raises:
            KeyError: the layer was not captured.
        """
        return self._map(layer, "r")

    def tensor(self, layer: int) -> "torch.Tensor":
        """As `read`, as a tensor in the store's dtype.

        Raises:
            KeyError: the layer was not captured.
        """
        import torch

        # Mapped so that writing, which torch cannot forbid, would not reach the file.
        parts = [torch.from_numpy(view) for view in self._map(layer, "c")] or [torch.from_numpy(self._none())]
        parts = [part.view(getattr(torch, self.dtype)) for part in parts]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def layer(self, layer: int) -> "Layer":
        """One layer, to be fitted on without being read into memory (`fit_many`).

        Raises:
            KeyError: the layer was not captured.
        """
        return Layer((self._reader, self._index(layer)))

    def gather(
        self, rows: NDArray[np.int64], layers: Sequence[int] | None = None
    ) -> dict[int, NDArray[np.float32]]:
        """Any rows of some layers (by default all), (n, width) each, in float32.

        Raises:
            KeyError: a layer was not captured.
            StoreError: a row is not in the store.
        """
        return self._gather(rows, layers, lambda shape: np.empty(shape, np.float32))

    def _gather(
        self,
        rows: NDArray[np.int64],
        layers: Sequence[int] | None,
        empty: Callable[[tuple[int, int]], NDArray[np.float32]],
    ) -> dict[int, NDArray[np.float32]]:
        wanted = np.ascontiguousarray(rows, np.int64)
        states = {}
        for layer in self.layers if layers is None else layers:
            out = empty((len(wanted), self.width))
            self._reader.gather(self._index(layer), wanted, out)
            states[layer] = out
        return states

    def order(self, size: int, *, seed: int = 0, shuffle: bool = True) -> "RowOrder":
        """Which rows make each batch of `size`; a sampler for a torch `DataLoader`."""
        return RowOrder(self.rows, self.width * _NUMPY[self.dtype].itemsize, size, seed, shuffle)

    def batches(
        self, size: int, layers: Sequence[int] | None = None, *, order: "RowOrder | None" = None
    ) -> Iterator[Batch]:
        """The batches of one epoch, from wherever `order` (by default one shuffled with seed 0) stands.

        The rows of the batches to come are read ahead. Any number of rows fits: only a window of them is in memory.

        Raises:
            KeyError: a layer was not captured.
        """
        indices = [self._index(layer) for layer in (self.layers if layers is None else layers)]
        order = order or self.order(size)

        def read(start: int, stop: int, now: bool) -> None:
            for index in indices:
                self._reader.will_need(index, start, stop, now)

        buffers = _Buffers()
        for rows in order.iterate(read):
            yield Batch(rows, self._gather(rows, layers, buffers.empty))

    def dataset(self, layers: Sequence[int] | None = None) -> "Dataset":
        """For a torch `DataLoader` with `sampler=store.order(size)` and `batch_size=None`; workers fork or spawn."""
        return Dataset(self, layers)

    def verify(self) -> None:
        """Read everything and compare checksums.

        Raises:
            StoreError: names the first shard that differs.
        """
        self._reader.verify()

    def _map(self, layer: int, mode: Literal["r", "c"]) -> list[NDArray[Any]]:
        places = zip(self._reader.shards, self._reader.locate(self._index(layer)), strict=True)
        return [
            np.memmap(file, _NUMPY[self.dtype], mode, offset, (rows, self.width)) if rows else self._none()
            for (_, _, rows), (file, offset) in places
        ]

    def _index(self, layer: int) -> int:
        if layer not in self.layers:
            raise KeyError(f"layer {layer} was not captured; captured: {list(self.layers)}")
        return self.layers.index(layer)

    def _none(self) -> NDArray[Any]:
        return np.empty((0, self.width), _NUMPY[self.dtype])


class _Buffers:
    """Arrays that are filled anew when nobody else holds them: to fault in fresh memory takes as long as to fill it."""

    def __init__(self) -> None:
        self._kept = [np.empty((0, 0), np.float32)]
        # Of an array that is only kept, on this interpreter.
        self._free = self._holders()[0]

    def empty(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        for i, holders in enumerate(self._holders()):
            # A view or a tensor of an array holds it, too.
            if holders == self._free and self._kept[i].shape == shape:
                return self._kept[i]
        array = np.empty(shape, np.float32)
        self._kept = [*self._kept[1 - _MOST_BUFFERS :], array]
        return array

    def _holders(self) -> list[int]:
        return [sys.getrefcount(array) for array in self._kept]


class Dataset:
    """A store by batches of rows: `dataset[rows]` is a dict of `rows` (n,) and of each layer's states (n, width)."""

    def __init__(self, store: ActivationStore, layers: Sequence[int] | None) -> None:
        self.store, self.layers = store, layers

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, rows: NDArray[np.int64]) -> dict[str | int, NDArray[Any]]:
        states: dict[Any, NDArray[Any]] = dict(self.store.gather(rows, self.layers))
        return {"rows": rows, **states}


class RowOrder:
    """Batches of row numbers, epoch after epoch: each row once an epoch, in an order that only seed and epoch decide.

    Blocks of rows that lie side by side are shuffled among each other, then rows within a window of blocks, so that a
    disk reads ahead. A store of up to a window (64 blocks of half a megabyte) is shuffled whole. `state_dict` is two
    numbers; `load_state_dict` goes on after the last batch that was handed out.
    """

    def __init__(self, rows: int, row_bytes: int, size: int, seed: int = 0, shuffle: bool = True) -> None:
        if size < 1:
            raise ValueError(f"a batch of {size} rows")
        self.rows, self.size, self.seed, self.shuffle = rows, size, seed, shuffle
        self._block = max(1, _BLOCK_BYTES // max(1, row_bytes))
        self._window = max(_WINDOW_BLOCKS, -(-_WINDOW_BATCHES * size // self._block))
        self._epoch = self._batch = 0

    def __len__(self) -> int:
        return -(-self.rows // self.size)

    def state_dict(self) -> dict[str, int]:
        """Epoch, and how many of its batches were handed out."""
        return {"epoch": self._epoch, "batch": self._batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where `state` was taken; of an order of the same rows, size and seed."""
        self._epoch, self._batch = state["epoch"], state["batch"]

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        return self.iterate(lambda start, stop, now: None)

    def iterate(self, read: Callable[[int, int, bool], None]) -> Iterator[NDArray[np.int64]]:
        """The rest of this epoch's batches.

        read: called with the first row, the one after the last, and whether they are wanted now: for the blocks of each
            window when it begins, after those of the next.
        """
        skip = self._batch * self.size
        kept = np.empty(0, np.int64)
        blocks = self._blocks()
        windows = [blocks[i : i + self._window] for i in range(0, len(blocks), self._window)]
        for i, window in enumerate(windows):
            rows = self._rows_of(window, i)
            if skip >= len(rows):
                skip -= len(rows)
                continue
            for ahead in (window, *windows[i + 1 : i + 2]):
                self._read(ahead, read, now=False)
            self._read(window, read, now=True)
            kept = np.concatenate([kept, rows[skip:]])
            skip = 0
            whole = len(kept) // self.size * self.size
            for start in range(0, whole, self.size):
                self._batch += 1
                yield kept[start : start + self.size]
            kept = kept[whole:]
        if len(kept):
            self._batch += 1
            yield kept
        self._epoch, self._batch = self._epoch + 1, 0

    def _read(self, blocks: NDArray[np.int64], read: Callable[[int, int, bool], None], *, now: bool) -> None:
        for start in (blocks * self._block).tolist():
            read(start, min(start + self._block, self.rows), now)

    def _blocks(self) -> NDArray[np.int64]:
        count = -(-self.rows // self._block)
        if not self.shuffle:
            return np.arange(count)
        return np.random.default_rng([self.seed, self._epoch]).permutation(count)

    def _rows_of(self, blocks: NDArray[np.int64], window: int) -> NDArray[np.int64]:
        rows = (blocks[:, None] * self._block + np.arange(self._block)).reshape(-1)
        rows = rows[rows < self.rows]
        if not self.shuffle:
            return rows
        return np.random.default_rng([self.seed, self._epoch, window]).permutation(rows)


def texts_file(capture: str) -> str:
    """Name of the file beside the shards that holds a capture's texts."""
    return f"texts-{capture}.parquet"
