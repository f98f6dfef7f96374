"""Shards on their way to a store: staged in memory row by row, then written on a thread of their own.

While one shard is written, the next is staged. Importing this does not import torch.
"""

import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from valueattr import _core
from valueattr.activations._identity import ModelIdentity, without_model
from valueattr.activations._store import StoreError, recorded_models
from valueattr.activations._texts import has_texts, read_texts, write_texts

if TYPE_CHECKING:
    import torch

__all__ = [
    "CaptureError",
    "Dtype",
    "PendingStates",
    "Selection",
    "ShardRecorder",
    "StagedShard",
    "StateShape",
    "filled",
]

Dtype = Literal["float32", "float16", "bfloat16"]

# About what a shard holds; large enough that its file costs little, small enough to wait for.
_SHARD_BYTES = 64 << 20

# The token of a row that belongs to no single token.
_MEAN = -1

Ints = NDArray[np.int64]


class CaptureError(ValueError):
    """A capture that cannot be done as asked. The message names the text, layer or position."""


@dataclass(frozen=True)
class StateShape:
    """What every row of a capture holds: a state of `width` values of `dtype` at each of `layers`.

    Raises:
        CaptureError: there is no layer, or one is named twice.
    """

    layers: list[int]
    width: int
    dtype: Dtype

    def __post_init__(self) -> None:
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise CaptureError(f"layers is {self.layers}; expected one or more layers, each named once")

    @property
    def torch_dtype(self) -> "torch.dtype":
        import torch

        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype

    @property
    def row_bytes(self) -> int:
        """Bytes of a row over all layers."""
        return len(self.layers) * self.width * self.torch_dtype.itemsize


@dataclass(frozen=True)
class Selection:
    """A text's number, and which of its tokens are kept, a row each; None keeps one row, the mean over all tokens."""

    text: int
    tokens: range | None

    @property
    def rows(self) -> int:
        return 1 if self.tokens is None else len(self.tokens)


_Selected = TypeVar("_Selected", bound=Selection)


def filled(texts: Iterator[_Selected], shape: StateShape, least: int) -> Iterator[list[_Selected]]:
    """The texts of one shard after the other: as many as fill it, but never fewer than `least` before the end."""
    group: list[_Selected] = []
    rows = 0
    for one in texts:
        group.append(one)
        rows += one.rows
        if len(group) >= least and rows * shape.row_bytes >= _SHARD_BYTES:
            yield group
            group, rows = [], 0
    if group:
        yield group


@dataclass(frozen=True)
class PendingStates:
    """States (layers, rows, width) on their way from the device, and which `rows` of the shard they are.

    `finite` (layers, rows) says whether the sum over a row is finite, in one fast pass. A row whose sum is not finite
    may still hold only large values.
    """

    states: "torch.Tensor"
    finite: "torch.Tensor"
    rows: Ints
    copied: "torch.cuda.Event | None"

    @classmethod
    def of(cls, states: "torch.Tensor", rows: Ints, shape: StateShape) -> "PendingStates":
        """Start the copy of `states` (layers, rows, width) to the host, in the dtype of the store."""
        import torch

        states = states.to(shape.torch_dtype)
        finite = states.sum(-1, dtype=torch.float32).isfinite()
        if states.device.type != "cuda":
            return cls(states.cpu(), finite.cpu(), rows, None)
        pinned = torch.empty(states.shape, dtype=states.dtype, pin_memory=True)
        flags = torch.empty(finite.shape, dtype=finite.dtype, pin_memory=True)
        pinned.copy_(states, non_blocking=True)
        flags.copy_(finite, non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()
        return cls(pinned, flags, rows, copied)


@dataclass(frozen=True)
class StagedShard:
    """A shard in memory: how many texts it completes, the text and token of each row, and per layer the rows."""

    texts: int
    text: Ints
    token: Ints
    states: list["torch.Tensor"]

    @classmethod
    def of(cls, group: Sequence[Selection], shape: StateShape) -> "StagedShard":
        """Empty rows for the texts, in the order of the texts."""
        import torch

        text = np.repeat([one.text for one in group], [one.rows for one in group])
        token = np.concatenate([[_MEAN] if one.tokens is None else list(one.tokens) for one in group])
        states = [torch.empty((len(text), shape.width), dtype=shape.torch_dtype) for _ in shape.layers]
        return cls(len(group), text, token, states)

    def put(self, pending: PendingStates, shape: StateShape) -> None:
        """Wait for states that are on their way from the device, and put them in their place.

        Raises:
            CaptureError: a state is not finite in the dtype of the store.
        """
        import torch

        if pending.copied is not None:
            pending.copied.synchronize()
        if not bool(pending.finite.all()) and len(wrong := (~pending.states.isfinite()).any(-1).nonzero()):
            layer, row = wrong[0].tolist()
            text, token = self.text[pending.rows[row]], self.token[pending.rows[row]]
            where = "" if token == _MEAN else f", token {token}"
            raise CaptureError(
                f"text {text}, layer {shape.layers[layer]}{where}: an activation is not finite in {shape.dtype}"
            )
        rows = torch.from_numpy(pending.rows)
        for layer, states in enumerate(self.states):
            states.index_copy_(0, rows, pending.states[layer])


class ShardRecorder:
    """Writes the shards of one capture on a thread of its own.

    An error of the thread is raised by the next call, at the latest when the context ends.

    model: which one the rows are of, where that is known. It is recorded with the texts, and logged where it cannot be
        compared with that of rows that are there.
    durable: whether shards are synced to the disk.

    Raises:
        CaptureError: the name cannot name a capture, or the store holds a capture of this name with other texts, or
            rows of another model.
        StoreError: the store cannot be written to.
    """

    def __init__(
        self,
        folder: Path,
        shape: StateShape,
        name: str,
        texts: pa.Table,
        model: ModelIdentity | None,
        *,
        durable: bool,
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise CaptureError(f"{name!r} does not name a capture; use only letters, digits, - and _")
        self._writer = _core.StoreWriter(folder, shape.layers, shape.width, shape.dtype, durable)
        self._folder, self._name = folder, name
        self.done = sum(texts for capture, texts, _ in self._writer.committed if capture == name)
        """Number of texts that have been appended."""
        try:
            self._check_model(model)
            self._keep(texts, model)
        except BaseException:
            self._writer.finish()  # so that another writer may open the store
            raise
        self._thread = ThreadPoolExecutor(1, "valueattr-store")
        self._last: Future[None] | None = None

    def _check_model(self, model: ModelIdentity | None) -> None:
        committed = dict.fromkeys(capture for capture, _, _ in self._writer.committed)
        recorded = recorded_models(self._folder, committed)
        for other in recorded.values():
            if model is not None and other is not None and (differs := model.differences(other)):
                raise CaptureError(
                    f"{self._folder} holds activations of another model: {_listed(differs)} differ "
                    f"(there {other}, here {model}); capture into another store"
                )
        unchecked = [capture for capture, other in recorded.items() if (other is None) != (model is None)]
        if unchecked:
            logging.getLogger("valueattr").warning(
                "%s: whether %s and this capture are of one model is not checked, as it was not recorded",
                self._folder,
                _listed(list(map(repr, unchecked))),
            )

    def _keep(self, texts: pa.Table, model: ModelIdentity | None) -> None:
        """Write the table of texts, which must be there before the first of their rows."""
        if self.done and not has_texts(self._folder, self._name):
            read_texts(self._folder, self._name)  # says that it is missing
        if has_texts(self._folder, self._name):
            before = read_texts(self._folder, self._name)
            same = without_model(before.schema).equals(texts.schema, check_metadata=True)
            columns = texts.slice(0, len(before))
            if not same or not columns.equals(before):
                raise CaptureError(
                    f"{self._folder} holds a capture {self._name!r} of other texts, columns or positions"
                )
            recorded = ModelIdentity.read_from(before.schema)
            if self.done:  # what was not recorded of the rows that are there stays unknown
                model = recorded
            if len(before) == len(texts) and model == recorded:
                return
        if model is not None:
            texts = texts.cast(model.recorded_in(texts.schema))
        try:
            write_texts(self._writer, self._folder, self._name, texts)
        except pa.ArrowException as error:
            raise CaptureError(f"the table cannot be kept in Parquet: {error}") from None

    def append(self, staged: StagedShard) -> None:
        """Hand a shard to the thread, once the one before is written."""
        import torch

        self._wait()
        layers = [states.view(torch.uint8).numpy().reshape(-1) for states in staged.states]
        try:
            self._last = self._thread.submit(
                self._writer.append, self._name, staged.texts, staged.text, staged.token, layers
            )
        except RuntimeError as error:
            raise StoreError(f"{self._folder}: the thread that writes cannot be started: {error}") from None
        self.done += staged.texts

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()

    def __enter__(self) -> "ShardRecorder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True)
        failed = error is not None or (self._last is not None and self._last.exception() is not None)
        # After an error, what was appended is still committed, and another writer may open the store.
        with contextlib.suppress(StoreError) if failed else contextlib.nullcontext():
            self._writer.finish()
        if error is None:
            self._wait()


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1])] * (len(names) > 1) + [names[-1]])
