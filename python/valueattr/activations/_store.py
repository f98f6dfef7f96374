"""Captured activations, read back as views of the files, as gathered rows, or as shuffled batches that resume.

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
from valueattr.activations._order import RowOrder

if TYPE_CHECKING:
    import torch

__all__ = ["ActivationStore", "Batch", "Layer", "StoreError"]

_NUMPY: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
}

_MOST_BUFFERS = 32


@dataclass(frozen=True)
class Batch:
    """The numbers `rows` (n,) of some rows of the store, and per layer their `states` (n, width) in float32."""

    rows: NDArray[np.int64]
    states: dict[int, NDArray[np.float32]]


@dataclass(frozen=True)
class Layer:
    """A layer of a store. Its rows stay on the disk."""

    source: tuple[_core.StoreReader, int]
    """The reader and the layer's index in it, which is how the compiled parts take a layer."""

    @property
    def rows(self) -> int:
        """Number of rows, which lie in the order of the store."""
        return self.source[0].rows

    @property
    def width(self) -> int:
        """Number of values per row."""
        return self.source[0].width


class ActivationStore:
    """Captured rows of several layers, in the order in which they were captured.

    A store can be handed to other processes, which open the folder anew.

    Raises:
        StoreError: the folder is not a store or is of another version, or a shard is missing, cut short or another file.
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
        """Number of rows, the same for every layer."""
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
        """The rows of a layer, (rows, width): a view of the file if they lie in one shard, otherwise a copy.

        numpy lacks bfloat16, so such values come as float32.

        Raises:
            KeyError: the layer was not captured.
        """
        if self.dtype == "bfloat16":
            return self.gather(np.arange(self.rows), [layer])[layer]
        parts = self.views(layer)
        return parts[0] if len(parts) == 1 else np.concatenate([self._none(), *parts])

    def views(self, layer: int) -> list[NDArray[Any]]:
        """The rows of a layer in each shard, (rows, width) each, as they lie in the file; bfloat16 comes as its bits, uint16.

        Raises:
            KeyError: the layer was not captured.
        """
        return self._map(layer, "r")

    def tensor(self, layer: int) -> "torch.Tensor":
        """What `read` gives, as a tensor in the store's dtype.

        Raises:
            KeyError: the layer was not captured.
        """
        import torch

        # torch cannot forbid writing; this way it would not reach the file.
        parts = [torch.from_numpy(view) for view in self._map(layer, "c")] or [torch.from_numpy(self._none())]
        parts = [part.view(getattr(torch, self.dtype)) for part in parts]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def layer(self, layer: int) -> "Layer":
        """One layer, on which `fit_many` fits probes without reading it into memory.

        Raises:
            KeyError: the layer was not captured.
        """
        return Layer((self._reader, self._index(layer)))

    def gather(
        self, rows: NDArray[np.int64], layers: Sequence[int] | None = None
    ) -> dict[int, NDArray[np.float32]]:
        """Any rows of some layers (by default of all), (n, width) each, in float32.

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

    def order(self, size: int, *, seed: int = 0, shuffle: bool = True) -> RowOrder:
        """Which rows make up each batch of `size`; it serves as a sampler for a torch `DataLoader`."""
        return RowOrder(self.rows, self.width * _NUMPY[self.dtype].itemsize, size, seed, shuffle)

    def batches(
        self, size: int, layers: Sequence[int] | None = None, *, order: RowOrder | None = None
    ) -> Iterator[Batch]:
        """The batches of one epoch, starting where `order` stands; by default a new order that seed 0 shuffles.

        The rows of the batches to come are read ahead. Any number of rows fits, as only a window of them is in memory.

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
        """The store for a torch `DataLoader` with `sampler=store.order(size)` and `batch_size=None`.

        Its workers may fork or spawn.
        """
        return Dataset(self, layers)

    def verify(self) -> None:
        """Read the whole store and compare checksums.

        Raises:
            StoreError: a shard differs; the message names the first.
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
    """Arrays that are filled anew when nobody else holds them: faulting in fresh memory takes as long as filling it."""

    def __init__(self) -> None:
        self._kept = [np.empty((0, 0), np.float32)]
        # How many references this interpreter counts for an array that nobody else holds.
        self._free = self._holders()[0]

    def empty(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        for i, holders in enumerate(self._holders()):
            # A view or a tensor of an array also holds it.
            if holders == self._free and self._kept[i].shape == shape:
                return self._kept[i]
        array = np.empty(shape, np.float32)
        self._kept = [*self._kept[1 - _MOST_BUFFERS :], array]
        return array

    def _holders(self) -> list[int]:
        return [sys.getrefcount(array) for array in self._kept]


class Dataset:
    """A store read by batches: `dataset[rows]` is a dict of `rows` (n,) and of each layer's states (n, width)."""

    def __init__(self, store: ActivationStore, layers: Sequence[int] | None) -> None:
        self.store, self.layers = store, layers

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, rows: NDArray[np.int64]) -> dict[str | int, NDArray[Any]]:
        states: dict[Any, NDArray[Any]] = dict(self.store.gather(rows, self.layers))
        return {"rows": rows, **states}


def texts_file(capture: str) -> str:
    """The name of the file beside the shards that holds a capture's texts."""
    return f"texts-{capture}.parquet"
