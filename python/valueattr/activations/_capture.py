"""The residual stream of a transformers model, captured into an `ActivationStore`.

While a batch goes through the model, the states of the batch before are copied from the device and the shard before is
written. Importing this does not import torch.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from valueattr.activations._encoding import EncodedText, Position, check_positions, encoded_texts
from valueattr.activations._hooks import BlockHooks, blocks_of
from valueattr.activations._identity import ModelIdentity
from valueattr.activations._limits import TokenLimits
from valueattr.activations._shards import (
    CaptureError,
    Dtype,
    PendingStates,
    ShardRecorder,
    StagedShard,
    StateShape,
    filled,
)
from valueattr.activations._store import ActivationStore
from valueattr.activations._texts import as_arrow

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["capture"]


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
    table: "pa.Table | pd.DataFrame | None" = None,
    progress: Callable[[int, int], None] | None = None,
) -> ActivationStore:
    """Capture the residual stream at chosen layers, and return the whole store.

    This works on any transformers causal LM whose blocks are one `ModuleList` of `num_hidden_layers` modules, such as
    Llama, Qwen, Gemma, GPT-2 and GPT-NeoX.

    layers: layer 0 is what enters the first block, layer i what leaves the i-th. The last is before the final norm.
    positions: the last token, every token (a row each), the mean over all tokens, or per text a span of characters (end
        exclusive), of which the last token that overlaps it is taken.
    batch_size: number of texts in a forward pass; they are of similar length.
    store: the folder to keep the rows in. Rows that an interrupted capture of this name left there are not computed
        again, and more texts can be added behind the same ones. Captures of other names lie beside it. All are of one
        model, which is recorded: see `ActivationStore.models`. By default it is a temporary folder, which is deleted
        with the object and is not synced to the disk.
    table: one row per text with whatever belongs to it, such as labels and groups. Its column `id`, which is unique,
        names the texts; without it they are numbered. It is kept beside the shards; see `ActivationStore.index`, whose
        own columns `capture`, `token` and `text` it cannot have.
    progress: called with the number of texts that are done and the number of all texts.

    Texts are padded on the right, which a causal model does not see, so rows do not depend on the tokenizer's side.

    Raises:
        CaptureError: the model lacks a layer, a text is empty or longer than the model's context, a span is outside
            its text, an activation is not finite in `dtype` (the message names text and layer), or the store holds a
            capture of this name with other texts, or activations of another model.
        StoreError: the store has other layers, its journal is lost (`JournalError`), another process writes to it, or
            the disk is full. What was committed is kept.
    """
    texts = list(texts)
    blocks = blocks_of(model)
    wanted = list(range(len(blocks) + 1)) if layers == "all" else [int(layer) for layer in layers]
    for layer in wanted:
        if not 0 <= layer <= len(blocks):
            raise CaptureError(f"layer {layer} was asked for; the model has layers 0 to {len(blocks)}")
    check_positions(texts, positions)
    temporary = tempfile.TemporaryDirectory(prefix="valueattr-") if store is None else None
    folder = Path(temporary.name if temporary else store or "")
    shape = StateShape(wanted, model.config.hidden_size, dtype)
    described = _described(texts, table, positions)
    # Nothing is added to a temporary store.
    identity = None if temporary else ModelIdentity.of(model, tokenizer)
    limits = TokenLimits.of(model)
    shown = progress or (lambda done, of: None)
    with ShardRecorder(folder, shape, name, described, identity, durable=temporary is None) as recorder:
        encoded = encoded_texts(tokenizer, texts, positions, recorder.done, limits)
        for group in filled(encoded, shape, batch_size):
            recorder.append(_staged(model, blocks, group, shape, batch_size, positions == "mean"))
            shown(recorder.done, len(texts))
    captured = ActivationStore(folder)
    captured._temporary = temporary
    return captured


def _described(
    texts: Sequence[str], table: "pa.Table | pd.DataFrame | None", positions: Position
) -> pa.Table:
    """What is kept beside the shards: `id`, `text`, the table's other columns, and the positions taken."""
    described = {
        "id": pa.array(map(str, range(len(texts))), pa.string()),
        "text": pa.array(texts, pa.string()),
    }
    if table is not None:
        described |= _columns(table, len(texts))
    if len(described["id"].unique()) < len(texts):
        raise CaptureError("two texts have the same id")
    if not isinstance(positions, str):
        for column, of_texts in (
            ("start", [start for start, _ in positions]),
            ("end", [end for _, end in positions]),
        ):
            if column in described and described[column].to_pylist() != of_texts:
                raise CaptureError(
                    f"the table has a column {column!r} with other numbers than the spans; rename it"
                )
            described[column] = pa.array(of_texts, pa.int64())
    taken = positions if isinstance(positions, str) else "span"
    return pa.table(described).replace_schema_metadata({"positions": taken})


def _columns(table: "pa.Table | pd.DataFrame", rows: int) -> dict[str, pa.Array]:
    try:
        arrow = as_arrow(table)
    except ValueError as error:
        raise CaptureError(f"the table cannot be kept: {error}") from None
    if arrow.column_names and len(arrow) != rows:
        raise CaptureError(f"the table has {len(arrow)} rows for {rows} texts")
    for column in ("capture", "token", "text"):
        if column in arrow.column_names:
            raise CaptureError(
                f"the table has a column {column!r}, which the store has of its own; rename or drop it"
            )
    columns = {column: arrow[column].combine_chunks() for column in arrow.column_names}
    if "id" in columns:
        try:
            columns["id"] = columns["id"].cast(pa.string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise CaptureError(f"the ids hold {columns['id'].type}; expected texts or integers") from None
        if columns["id"].null_count:
            raise CaptureError(f"row {columns['id'].is_null().index(True).as_py()} of the table has no id")
    return columns


def _staged(
    model: "PreTrainedModel",
    blocks: Any,
    group: Sequence[EncodedText],
    shape: StateShape,
    batch_size: int,
    mean: bool,
) -> StagedShard:
    """The shard of these texts, which go through the model sorted by length."""
    first_rows = np.cumsum([0, *(one.rows for one in group)])
    staged = StagedShard.of(group, shape)
    by_length = sorted(range(len(group)), key=lambda i: len(group[i].ids))
    before: PendingStates | None = None
    with BlockHooks(blocks) as hooks:
        for start in range(0, len(by_length), batch_size):
            batch = by_length[start : start + batch_size]
            states = hooks.states(model, [group[i] for i in batch], shape.layers, mean)
            rows = np.concatenate([np.arange(first_rows[i], first_rows[i + 1]) for i in batch])
            pending = PendingStates.of(states, rows, shape)
            if before is not None:
                staged.put(before, shape)
            before = pending
    if before is not None:
        staged.put(before, shape)
    return staged
