"""Hidden states that vLLM wrote, brought into a store.

Importing this does not import torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa

from valueattr.activations._shards import (
    CaptureError,
    Dtype,
    PendingStates,
    Selection,
    ShardRecorder,
    StagedShard,
    StateShape,
    filled,
)
from valueattr.activations._store import ActivationStore
from valueattr.activations._texts import as_arrow

if TYPE_CHECKING:
    import pandas as pd
    import torch

__all__ = ["import_vllm"]


def import_vllm(
    folder: str | Path,
    store: str | Path,
    *,
    layers: Sequence[int],
    positions: Literal["last", "all", "mean"] = "last",
    dtype: Dtype = "bfloat16",
    name: str = "vllm",
    table: "pa.Table | pd.DataFrame | None" = None,
) -> ActivationStore:
    """Bring in what vLLM's hidden-state connector wrote: one safetensors file per request.

    Each file holds `token_ids` (tokens,) and `hidden_states` (tokens, layers, width). The requests, sorted by file name,
    are the texts. The `id` of a text is the name of its file without the suffix; `table` (see `capture`) is joined by
    it.

    layers: which layers the files hold, in the order in which they were given to vLLM. The last layer has the number of
        blocks.

    Raises:
        CaptureError: there are no files, a file lacks these tensors or has another shape, the ids of `table` are not
            those of the files, or a state is not finite in `dtype`.
        StoreError: as for `capture`.
    """
    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        raise CaptureError(f"{folder}: there is no .safetensors file")
    ids = pa.array([file.stem for file in files], pa.string())
    described = pa.table({"id": ids, "text": pa.nulls(len(files), pa.string())})
    if table is not None:
        described = _joined(described, table)
    described = described.replace_schema_metadata({"positions": positions})
    first = _read_states(files[0], len(layers), None)
    shape = StateShape(list(layers), first.shape[2], dtype)
    with ShardRecorder(Path(store), shape, name, described, None, durable=True) as recorder:
        requests = (
            _request(text, _read_states(files[text], len(layers), first.shape[2]), positions)
            for text in range(recorder.done, len(files))
        )
        for group in filled(requests, shape, 1):
            staged = StagedShard.of(group, shape)
            row = 0
            for request in group:
                rows = np.arange(row, row + request.rows)
                staged.put(PendingStates.of(request.states.transpose(0, 1), rows, shape), shape)
                row += request.rows
            recorder.append(staged)
    return ActivationStore(store)


@dataclass(frozen=True)
class _Request(Selection):
    """A request with the states (rows, layers, width) of the tokens that are kept."""

    states: "torch.Tensor"


def _request(text: int, states: "torch.Tensor", positions: str) -> _Request:
    if positions == "mean":
        return _Request(text, None, states.float().mean(0, keepdim=True))
    tokens = range(len(states)) if positions == "all" else range(len(states) - 1, len(states))
    return _Request(text, tokens, states[tokens.start :])


def _read_states(file: Path, layers: int, width: int | None) -> "torch.Tensor":
    """The hidden states of a file, (tokens, layers, width); any width will do if none is given."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as tensors:
            tokens: torch.Tensor = tensors.get_tensor("token_ids")
            states: torch.Tensor = tensors.get_tensor("hidden_states")
    except (SafetensorError, OSError) as error:
        raise CaptureError(f"{file} is cut short or not what vLLM wrote: {error}") from None
    expected = (tokens.numel(), layers, states.shape[-1] if states.ndim and width is None else width)
    if tuple(states.shape) != expected or not tokens.numel():
        raise CaptureError(
            f"{file}: hidden_states of shape {tuple(states.shape)}, expected (tokens, layers, width) = {expected}"
        )
    return states


def _joined(texts: pa.Table, table: "pa.Table | pd.DataFrame") -> pa.Table:
    """The texts with the columns that `table` has for their ids."""
    try:
        table = as_arrow(table)
    except ValueError as error:
        raise CaptureError(f"the table cannot be kept: {error}") from None
    for column in ("capture", "token"):
        if column in table.column_names:
            raise CaptureError(
                f"the table has a column {column!r}, which the store has of its own; rename or drop it"
            )
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
