"""Captured activations, read back as views of the files, as gathered rows, or as shuffled batches that resume.

Importing this does not import torch.
"""

import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from valueattr import _core
from valueattr._core import JournalError, StoreError
from valueattr.activations._identity import ModelIdentity
from valueattr.activations._order import RowOrder
from valueattr.activations._texts import has_checksum, has_texts, read_texts

if TYPE_CHECKING:
    import torch

__all__ = [
    "ActivationStore",
    "Batch",
    "JournalError",
    "Layer",
    "Rebuilt",
    "StoreError",
    "Verified",
    "rebuild_journal",
    "recorded_models",
]

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


class Verified(NamedTuple):
    """What `ActivationStore.verify` compared: the number of `shards`, and the captures whose `texts` it covers.

    `unchecked` are those whose texts were only read, as a store of before has no checksum of them.
    """

    shards: int
    texts: tuple[str, ...]
    unchecked: tuple[str, ...]


class Rebuilt(NamedTuple):
    """The lines of a journal that were `kept`, and the `new` ones, whose checksums were taken from the shards."""

    kept: int
    new: int


def rebuild_journal(path: str | Path) -> Rebuilt:
    """Write the journal of a store anew where it is lost or broken, and the manifest where that is missing.

    Lines that are intact are kept. The other shards get new ones, with checksums of what they hold now: damage that
    they had taken before is not found by `verify` any more.

    Raises:
        StoreError: the folder holds no store, another process writes to it, a shard is missing, cut or another file, or
            shards of a store of version 2 are of one of several captures. Then nothing was changed.
    """
    return Rebuilt(*_core.rebuild_journal(Path(path)))


class ActivationStore:
    """Captured rows of several layers, in the order in which they were captured.

    A store can be handed to other processes, which open the folder anew.

    Raises:
        JournalError: the journal or the manifest is lost; see `rebuild_journal`.
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

    def __repr__(self) -> str:
        return (
            f"ActivationStore({str(self.path)!r}: {self.rows:,} rows of {', '.join(self.captures) or 'no capture'}; "
            f"layers {_spoken(self.layers)} of {self.width:,} {self.dtype} values)"
        )

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
            StoreError: the table is missing, broken, or not what was written.
        """
        if capture not in self.captures and not has_texts(self.path, capture):
            raise KeyError(f"there is no capture {capture!r}; there is {', '.join(self.captures) or 'none'}")
        return read_texts(self.path, capture)

    @property
    def models(self) -> dict[str, ModelIdentity | None]:
        """The model of each capture; None where it is not known: in stores of before, and of what vLLM wrote.

        Raises:
            StoreError: a table of texts is missing or broken.
        """
        return recorded_models(self.path, self.captures)

    def index(self) -> pa.Table:
        """One row per row of the store: `capture`, `token` (counted from 0, null for a mean) and its text's columns.

        Raises:
            StoreError: a table of texts is missing, broken, or not that of the rows.
        """
        text, token = self._reader.sources()
        capture_of = self._capture_of_rows()
        parts, places = [], []
        for i, capture in enumerate(self.captures):
            at = np.flatnonzero(capture_of == i)
            own = self._texts_of(capture, text[at]).take(text[at])
            own = own.add_column(0, "token", pa.array(token[at], mask=token[at] < 0))
            parts.append(own.add_column(0, "capture", pa.array([capture] * len(at), pa.string())))
            places.append(at)
        if not parts:
            kinds = {"capture": pa.string(), "token": pa.int64(), "id": pa.string(), "text": pa.string()}
            return pa.schema(kinds.items()).empty_table()
        # Captures that went on in turns lie in turns.
        order = np.argsort(np.concatenate(places), kind="stable")
        try:
            return pa.concat_tables(parts, promote_options="permissive").take(order)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise StoreError(
                f"{self.path}: two captures have a column of one name and two kinds: {error}"
            ) from None

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

    def verify(self) -> Verified:
        """Read the whole store and compare checksums: of every shard, and of the table of texts of every capture.

        Raises:
            StoreError: a shard or a table differs, or is missing; the message names the first.
        """
        self._reader.verify()
        text, _ = self._reader.sources()
        capture_of = self._capture_of_rows()
        for i, capture in enumerate(self.captures):
            self._texts_of(capture, text[capture_of == i])
        unchecked = [capture for capture in self.captures if not has_checksum(self.path, capture)]
        checked = [capture for capture in self.captures if capture not in unchecked]
        return Verified(len(self._reader.shards), tuple(checked), tuple(unchecked))

    def _texts_of(self, capture: str, numbers: NDArray[np.int64]) -> pa.Table:
        """The table of a capture, which has texts of these numbers."""
        texts = read_texts(self.path, capture)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(texts):
            raise StoreError(
                f"{self.path}: the texts of capture {capture!r} are {len(texts):,}, and its rows are of texts "
                f"{numbers.min():,} to {numbers.max():,}: the table is another one; bring it back from a copy"
            )
        return texts

    def _capture_of_rows(self) -> NDArray[np.int64]:
        """For each row the number of its capture."""
        numbers = {capture: i for i, capture in enumerate(self.captures)}
        shards = self._reader.shards
        return np.repeat(
            np.array([numbers[capture] for capture, _, _ in shards], np.int64),
            np.array([rows for _, _, rows in shards], np.int64),
        )

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


def recorded_models(folder: Path, captures: Iterable[str]) -> dict[str, ModelIdentity | None]:
    """The model that is recorded for each of these captures.

    Raises:
        StoreError: a table of texts is missing or broken.
    """
    models = {}
    for capture in captures:
        try:
            models[capture] = ModelIdentity.read_from(read_texts(folder, capture).schema)
        except ValueError as error:
            raise StoreError(f"{folder}, texts of capture {capture!r}: {error}") from None
    return models


def _spoken(layers: Sequence[int]) -> str:
    """Layers by their numbers, or by the first and the last if none between is missing."""
    if len(layers) > 2 and list(layers) == list(range(layers[0], layers[-1] + 1)):
        return f"{layers[0]} to {layers[-1]}"
    return ", ".join(map(str, layers))
