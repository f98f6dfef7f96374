"""The residual stream of a transformers model, captured into an `ActivationStore`.

While a batch goes through the model, the states of the one before are copied from the device, and the shard before is
written. Importing this does not import torch.
"""

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from valueattr import _core
from valueattr.activations._store import ActivationStore, StoreError, texts_file

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["CaptureError", "Position", "capture", "import_vllm"]

Position = Literal["last", "all", "mean"] | Sequence[tuple[int, int]]
Dtype = Literal["float32", "float16", "bfloat16"]

# About what a shard holds; large enough that its file costs little, small enough to wait for.
_SHARD_BYTES = 64 << 20
# Texts that are tokenised together.
_TEXTS_AT_ONCE = 1024

_MEAN = -1  # the token of a row that is of no one token

Ints = NDArray[np.int64]


class CaptureError(ValueError):
    """A capture that cannot be done as asked; names the text, layer or position."""


def capture(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[str],
    *,
    layers: Literal["all"] | Sequence[int] = "all",
    positions: Position = "last",
    dtype: Dtype = "float32",
    batch_size: int = 128,
    store: str | Path | None = None,
    name: str = "texts",
    table: pa.Table | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ActivationStore:
    """Capture the residual stream at chosen layers, and return the whole store.

    Works on any transformers causal LM whose blocks are one `ModuleList` of `num_hidden_layers` modules (Llama, Qwen,
    Gemma, GPT-2, GPT-NeoX and their like).

    layers: 0 is what enters the first block, i what leaves the i-th; the last is before the final norm.
    positions: the last token, every token (a row each), the mean over all tokens, or per text a span of characters (end
        exclusive), of which the last token that overlaps it is taken.
    batch_size: texts of a forward pass, which are of similar length.
    store: the folder to keep it in. Rows that an interrupted capture of this name left there are not computed again, and
        more texts can be added behind the same ones; captures of other names lie beside it. By default a temporary
        folder, which is gone with the object and is not synced to the disk.
    table: one row per text with whatever belongs to it (labels, groups); its column `id`, unique, names the texts, which
        else are numbered. Kept beside the shards; see `ActivationStore.index`.
    progress: called with the texts done and how many there are.

    Texts are padded on the right, which a causal model does not see, so rows do not depend on the tokenizer's side.

    Raises:
        CaptureError: a layer that the model lacks, an empty text, a span outside its text, an activation that is not
            finite in `dtype` (names text and layer), or a capture of this name with other texts.
        StoreError: the store is of other layers, another process writes to it, or the disk is full; what was committed
            is kept.
    """
    blocks = _blocks(model)
    wanted = list(range(len(blocks) + 1)) if layers == "all" else [int(layer) for layer in layers]
    for layer in wanted:
        if not 0 <= layer <= len(blocks):
            raise CaptureError(f"layer {layer} asked for; the model has layers 0 to {len(blocks)}")
    spans = _checked_spans(texts, positions)
    temporary = tempfile.TemporaryDirectory(prefix="valueattr-") if store is None else None
    folder = Path(temporary.name if temporary else store or "")
    shape = _Shape(wanted, model.config.hidden_size, dtype)
    described = _described(texts, table, positions)
    shown = progress or (lambda done, of: None)
    with _Recorder(folder, shape, name, described, durable=temporary is None) as recorder:
        encoded = _encoded(tokenizer, texts, positions, spans, recorder.done)
        for group in _filled(encoded, shape, batch_size):
            recorder.append(_captured(model, blocks, group, shape, batch_size, positions == "mean"))
            shown(recorder.done, len(texts))
    captured = ActivationStore(folder)
    captured._temporary = temporary
    return captured


def import_vllm(
    folder: str | Path,
    store: str | Path,
    *,
    layers: Sequence[int],
    positions: Literal["last", "all", "mean"] = "last",
    dtype: Dtype = "bfloat16",
    name: str = "vllm",
    table: pa.Table | None = None,
) -> ActivationStore:
    """Bring in what vLLM's hidden-state connector wrote: one safetensors file per request.

    Each holds `token_ids` (tokens,) and `hidden_states` (tokens, layers, width). Texts are the requests, sorted by file
    name; their `id` is the file's name without its suffix, and `table` (see `capture`) is joined by it.

    layers: which layers the files hold, in their order, as they were given to vLLM (the number of blocks is the last).

    Raises:
        CaptureError: no files, a file without these tensors or of another shape, ids of `table` that are not those of
            the files, a state that is not finite in `dtype`.
        StoreError: as `capture`.
    """
    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        raise CaptureError(f"{folder}: there is no .safetensors file")
    ids = pa.array([file.stem for file in files], pa.string())
    described = pa.table({"id": ids, "text": pa.nulls(len(files), pa.string())})
    if table is not None:
        described = _joined(described, table)
    described = described.replace_schema_metadata({"positions": positions})
    first = _vllm_states(files[0], len(layers), None)
    shape = _Shape(list(layers), first.shape[2], dtype)
    with _Recorder(Path(store), shape, name, described, durable=True) as recorder:
        requests = (
            _request(text, _vllm_states(files[text], len(layers), first.shape[2]), positions)
            for text in range(recorder.done, len(files))
        )
        for group in _filled(requests, shape, 1):
            staged = _Staged.of(group, shape)
            row = 0
            for request in group:
                rows = np.arange(row, row + request.rows)
                staged.put(_Pending.of(request.states.transpose(0, 1), rows, shape), shape)
                row += request.rows
            recorder.append(staged)
    return ActivationStore(store)


@dataclass(frozen=True)
class _Request:
    """What is taken of a request: the tokens, none for their mean, and their states (rows, layers, width)."""

    text: int
    tokens: range | None
    states: "torch.Tensor"

    @property
    def rows(self) -> int:
        return len(self.states)


def _request(text: int, states: "torch.Tensor", positions: str) -> _Request:
    if positions == "mean":
        return _Request(text, None, states.float().mean(0, keepdim=True))
    tokens = range(len(states)) if positions == "all" else range(len(states) - 1, len(states))
    return _Request(text, tokens, states[tokens.start :])


def _vllm_states(file: Path, layers: int, width: int | None) -> "torch.Tensor":
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as tensors:
            tokens: torch.Tensor = tensors.get_tensor("token_ids")
            states: torch.Tensor = tensors.get_tensor("hidden_states")
    except (SafetensorError, OSError) as error:
        raise CaptureError(f"{file}: {error}") from None
    expected = (tokens.numel(), layers, states.shape[-1] if states.ndim and width is None else width)
    if tuple(states.shape) != expected or not tokens.numel():
        raise CaptureError(
            f"{file}: hidden_states of shape {tuple(states.shape)}, expected (tokens, layers, width) = {expected}"
        )
    return states


@dataclass(frozen=True)
class _Shape:
    layers: list[int]
    width: int
    dtype: Dtype

    def __post_init__(self) -> None:
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise CaptureError(f"layers {self.layers}: none, or one twice")

    @property
    def torch_dtype(self) -> "torch.dtype":
        import torch

        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype

    @property
    def row_bytes(self) -> int:
        return len(self.layers) * self.width * self.torch_dtype.itemsize


@dataclass(frozen=True)
class _Encoded:
    """A text of a capture: its number, its ids, and the tokens to take, none for their mean."""

    text: int
    ids: list[int]
    tokens: range | None

    @property
    def rows(self) -> int:
        return 1 if self.tokens is None else len(self.tokens)


@dataclass(frozen=True)
class _Staged:
    """A shard to be: how many texts it completes, where its rows come from, and per layer its rows."""

    texts: int
    text: Ints
    token: Ints
    states: list["torch.Tensor"]

    @classmethod
    def of(cls, group: Sequence["_Encoded | _Request"], shape: _Shape) -> "_Staged":
        """Room for the rows of the texts, in their order."""
        import torch

        text = np.repeat([one.text for one in group], [one.rows for one in group])
        token = np.concatenate([[_MEAN] if one.tokens is None else list(one.tokens) for one in group])
        states = [torch.empty((len(text), shape.width), dtype=shape.torch_dtype) for _ in shape.layers]
        return cls(len(group), text, token, states)

    def put(self, pending: "_Pending", shape: _Shape) -> None:
        """Wait for states on their way from the device, and put them in their place."""
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


@dataclass(frozen=True)
class _Pending:
    """States (layers, rows, width) on their way from the device, and which rows of the shard they are.

    `finite` (layers, rows): whether the sum over a row is, in one fast pass; one that is not may still hold large
    values only.
    """

    states: "torch.Tensor"
    finite: "torch.Tensor"
    rows: Ints
    copied: "torch.cuda.Event | None"

    @classmethod
    def of(cls, states: "torch.Tensor", rows: Ints, shape: _Shape) -> "_Pending":
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


class _Recorder:
    """Writes shards on a thread of its own. An error shows at the next call, at the latest when the context ends."""

    def __init__(self, folder: Path, shape: _Shape, name: str, texts: pa.Table, *, durable: bool) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise CaptureError(f"{name!r} does not name a capture: letters, digits, - and _ only")
        self._writer = _core.StoreWriter(folder, shape.layers, shape.width, shape.dtype, durable)
        self._name = name
        self.done = sum(texts for capture, texts, _ in self._writer.committed if capture == name)
        """Texts that have been appended."""
        try:
            self._keep(folder / texts_file(name), texts)
        except BaseException:
            self._writer.finish()  # free for another writer
            raise
        self._thread = ThreadPoolExecutor(1, "valueattr-store")
        self._last: Future[None] | None = None

    def _keep(self, path: Path, texts: pa.Table) -> None:
        """The table of texts is there before the first of them."""
        if path.exists():
            before = pq.read_table(path)
            same = before.schema.equals(texts.schema, check_metadata=True)
            if not same or not texts.slice(0, len(before)).equals(before):
                raise CaptureError(
                    f"{path.parent} holds a capture {self._name!r} of other texts, columns or positions"
                )
            if len(before) == len(texts):
                return
        buffer = pa.BufferOutputStream()
        pq.write_table(texts, buffer)
        self._writer.write_beside(path.name, buffer.getvalue().to_pybytes())

    def append(self, staged: _Staged) -> None:
        import torch

        self._wait()
        layers = [states.view(torch.uint8).numpy().reshape(-1) for states in staged.states]
        self._last = self._thread.submit(
            self._writer.append, self._name, staged.texts, staged.text, staged.token, layers
        )
        self.done += staged.texts

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()

    def __enter__(self) -> "_Recorder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True)
        # After an error what was appended is committed all the same, and the store is free for another writer.
        with contextlib.nullcontext() if error is None else contextlib.suppress(StoreError):
            self._wait()
            self._writer.finish()


def _described(texts: Sequence[str], table: pa.Table | None, positions: Position) -> pa.Table:
    """What is kept beside the shards: `id`, `text`, the table's other columns, and the positions taken."""
    described = {
        "id": pa.array(map(str, range(len(texts))), pa.string()),
        "text": pa.array(texts, pa.string()),
    }
    for column in table.column_names if table is not None else ():
        assert table is not None
        if len(table) != len(texts):
            raise CaptureError(f"a table of {len(table)} rows for {len(texts)} texts")
        values = table[column].combine_chunks()
        described[column] = values.cast(pa.string()) if column == "id" else values
    if len(described["id"].unique()) < len(texts):
        raise CaptureError("two texts have the same id")
    if not isinstance(positions, str):
        described["start"] = pa.array([start for start, _ in positions], pa.int64())
        described["end"] = pa.array([end for _, end in positions], pa.int64())
    taken = positions if isinstance(positions, str) else "span"
    return pa.table(described).replace_schema_metadata({"positions": taken})


def _joined(texts: pa.Table, table: pa.Table) -> pa.Table:
    if "id" not in table.column_names:
        raise CaptureError("the table has no column `id` to join by")
    of = {name: row for row, name in enumerate(table["id"].cast(pa.string()).to_pylist())}
    missing = [name for name in texts["id"].to_pylist() if name not in of]
    if missing or len(of) < len(table):
        raise CaptureError(
            f"the table has no row for {missing[0]!r}"
            if missing
            else "two rows of the table have the same id"
        )
    rows = table.take([of[name] for name in texts["id"].to_pylist()])
    for column in (name for name in table.column_names if name != "id"):
        at = texts.column_names.index(column) if column in texts.column_names else None
        values = rows[column].combine_chunks()
        texts = texts.append_column(column, values) if at is None else texts.set_column(at, column, values)
    return texts


def _checked_spans(texts: Sequence[str], positions: Position) -> Sequence[tuple[int, int]] | None:
    for i, text in enumerate(texts):
        if not text:
            raise CaptureError(f"text {i} is empty")
    if isinstance(positions, str):
        if positions not in ("last", "all", "mean"):
            raise CaptureError(f"unknown positions {positions!r}; known: last, all, mean, or a span per text")
        return None
    if len(positions) != len(texts):
        raise CaptureError(f"{len(positions)} spans for {len(texts)} texts")
    for i, (start, end) in enumerate(positions):
        if not 0 <= start < end <= len(texts[i]):
            raise _outside(i, texts[i], start, end)
    return positions


def _outside(i: int, text: str, start: int, end: int) -> CaptureError:
    return CaptureError(f"text {i} has {len(text)} characters; the span {start} to {end} is not in it")


def _blocks(model: "PreTrainedModel") -> Any:
    from torch.nn import ModuleList

    count = model.config.num_hidden_layers
    for module in model.modules():
        if isinstance(module, ModuleList) and len(module) == count:
            return module
    raise CaptureError(f"{type(model).__name__} has no list of {count} blocks to capture from")


def _encoded(
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[str],
    positions: Position,
    spans: Sequence[tuple[int, int]] | None,
    first: int,
) -> Iterator[_Encoded]:
    """The texts from `first` on."""
    for start in range(first, len(texts), _TEXTS_AT_ONCE):
        chunk = list(texts[start : start + _TEXTS_AT_ONCE])
        encoded = tokenizer(chunk, return_offsets_mapping=spans is not None)
        for i, ids in enumerate(encoded["input_ids"], start):
            if not ids:
                raise CaptureError(f"text {i} is empty: it has no token")
            tokens: range | None = range(len(ids) - 1, len(ids))
            if spans is not None:
                last = _last_token(encoded["offset_mapping"][i - start], *spans[i])
                if last is None:
                    raise _outside(i, texts[i], *spans[i])
                tokens = range(last, last + 1)
            elif positions != "last":
                tokens = range(len(ids)) if positions == "all" else None
            yield _Encoded(i, ids, tokens)


def _last_token(offsets: Sequence[tuple[int, int]], start: int, end: int) -> int | None:
    """The last token that overlaps a span of characters."""
    return next(
        (k for k in reversed(range(len(offsets))) if max(offsets[k][0], start) < min(offsets[k][1], end)),
        None,
    )


_Text = TypeVar("_Text", _Encoded, _Request)


def _filled(texts: Iterator[_Text], shape: _Shape, least: int) -> Iterator[list[_Text]]:
    """The texts of one shard each: as many as fill it, and `least` at least."""
    group: list[_Text] = []
    rows = 0
    for one in texts:
        group.append(one)
        rows += one.rows
        if len(group) >= least and rows * shape.row_bytes >= _SHARD_BYTES:
            yield group
            group, rows = [], 0
    if group:
        yield group


def _captured(
    model: "PreTrainedModel", blocks: Any, group: list[_Encoded], shape: _Shape, batch_size: int, mean: bool
) -> _Staged:
    """The rows of a shard's texts, which go through the model by length."""
    first_rows = np.cumsum([0, *(one.rows for one in group)])
    staged = _Staged.of(group, shape)
    by_length = sorted(range(len(group)), key=lambda i: len(group[i].ids))
    before: _Pending | None = None
    with _Hooks(blocks) as hooks:
        for start in range(0, len(by_length), batch_size):
            batch = by_length[start : start + batch_size]
            states = hooks.states(model, [group[i] for i in batch], shape.layers, mean)
            rows = np.concatenate([np.arange(first_rows[i], first_rows[i + 1]) for i in batch])
            pending = _Pending.of(states, rows, shape)
            if before is not None:
                staged.put(before, shape)
            before = pending
    if before is not None:
        staged.put(before, shape)
    return staged


class _Hooks:
    """Keeps what enters the first block and what leaves each, while the context lasts."""

    def __init__(self, blocks: Any) -> None:
        self._seen: dict[int, torch.Tensor] = {}
        self._handles = [
            blocks[0].register_forward_pre_hook(
                lambda _, args, kwargs: self._keep(0, args or tuple(kwargs.values())), with_kwargs=True
            )
        ]
        self._handles += [
            block.register_forward_hook(lambda _, __, output, layer=i + 1: self._keep(layer, output))
            for i, block in enumerate(blocks)
        ]

    def _keep(self, layer: int, output: Any) -> None:
        self._seen[layer] = output[0] if isinstance(output, tuple) else output

    def __enter__(self) -> "_Hooks":
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def states(
        self, model: "PreTrainedModel", batch: list[_Encoded], layers: Sequence[int], mean: bool
    ) -> "torch.Tensor":
        """States (layers, rows, width) on the model's device, the rows of each text in turn."""
        import torch

        width = max(len(one.ids) for one in batch)
        device = model.device
        ids = torch.tensor([one.ids + [0] * (width - len(one.ids)) for one in batch], device=device)
        lengths = torch.tensor([len(one.ids) for one in batch], device=device)
        mask = (torch.arange(width, device=device) < lengths[:, None]).long()
        with torch.no_grad():
            model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=1)
            if mean:
                means = [(self._seen[k].float() * mask[..., None]).sum(1) / lengths[:, None] for k in layers]
                return torch.stack(means)
            at = [i * width + k for i, one in enumerate(batch) for k in one.tokens or ()]
            rows = torch.tensor(at, device=device)
            first = self._seen[layers[0]]
            states = first.new_empty((len(layers), len(rows), first.shape[-1]))
            for i, layer in enumerate(layers):
                torch.index_select(self._seen[layer].flatten(0, 1), 0, rows, out=states[i])
            return states
