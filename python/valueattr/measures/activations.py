"""The residual stream of a transformers model, captured and kept.

`capture` runs texts through a model and stores the chosen layers and positions; `ActivationStore` reads them back
without copying. Importing this does not import torch.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from valueattr import _core
from valueattr._core import StoreError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["ActivationStore", "CaptureError", "StoreError", "capture"]

Position = Literal["last", "mean"] | Sequence[tuple[int, int]]

_NUMPY: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
}

# About what a shard holds; large enough that its file costs little, small enough to wait for.
_SHARD_BYTES = 64 << 20


class CaptureError(ValueError):
    """A capture that cannot be done as asked; names the text, layer or position."""


class ActivationStore:
    """Captured rows of several layers, in the order of the texts.

    Raises:
        StoreError: the folder is no store, or a shard is missing or cut.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        layers, self.width, self.dtype, self._shards = _core.open_store(self.path)
        self.layers: tuple[int, ...] = tuple(layers)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @property
    def rows(self) -> int:
        """Rows of every layer."""
        return sum(rows for _, rows, _ in self._shards)

    def read(self, layer: int) -> NDArray[Any]:
        """The rows of a layer, (rows, width): a view of the file if they lie in one shard, else a copy.

        bfloat16, which numpy lacks, comes as float32.

        Raises:
            KeyError: the layer was not captured.
        """
        if layer not in self.layers:
            raise KeyError(f"layer {layer} was not captured; captured: {list(self.layers)}")
        parts = list(self._parts(self.layers.index(layer)))
        whole = (
            parts[0]
            if len(parts) == 1
            else np.concatenate([np.empty((0, self.width), _NUMPY[self.dtype]), *parts])
        )
        return (whole.astype(np.uint32) << 16).view(np.float32) if self.dtype == "bfloat16" else whole

    def verify(self) -> None:
        """Read everything and compare checksums.

        Raises:
            StoreError: names the first shard that differs.
        """
        _core.verify_store(self.path)

    def _parts(self, index: int) -> Iterator[NDArray[Any]]:
        for file, rows, offsets in self._shards:
            yield np.memmap(file, _NUMPY[self.dtype], "r", offsets[index], (rows, self.width))


def capture(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[str],
    *,
    layers: Literal["all"] | Sequence[int] = "all",
    positions: Position = "last",
    dtype: Literal["float32", "float16", "bfloat16"] = "float32",
    batch_size: int = 128,
    store: str | Path | None = None,
) -> ActivationStore:
    """Capture the residual stream at chosen layers, one row per text.

    Works on any transformers causal LM whose blocks are one `ModuleList` of `num_hidden_layers` modules (Llama, Qwen,
    Gemma, GPT-2, GPT-NeoX and their like).

    layers: 0 is what enters the first block, i what leaves the i-th; the last is before the final norm.
    positions: the last token, the mean over all tokens, or per text a span of characters (end exclusive), of which the
        last token that overlaps it is taken.
    batch_size: texts of a forward pass, which are of similar length.
    store: the folder to keep it in; rows that an interrupted capture of the same texts left there are not computed
        again. By default a temporary one, which is gone with the object and is not synced to the disk.

    Texts are padded on the right, which a causal model does not see, so rows do not depend on the tokenizer's side.

    Raises:
        CaptureError: a layer that the model lacks, an empty text, a span outside its text, an activation that is not
            finite in `dtype` (names text and layer).
        StoreError: the store is of other layers, another process writes to it, or the disk is full.
    """
    blocks = _blocks(model)
    wanted = list(range(len(blocks) + 1)) if layers == "all" else [int(layer) for layer in layers]
    for layer in wanted:
        if not 0 <= layer <= len(blocks):
            raise CaptureError(f"layer {layer} asked for; the model has layers 0 to {len(blocks)}")
    encoded = _encode(tokenizer, texts, positions)
    temporary = tempfile.TemporaryDirectory(prefix="valueattr-") if store is None else None
    folder = Path(temporary.name if temporary else store or "")
    writer = _core.StoreWriter(folder, wanted, model.config.hidden_size, dtype, temporary is None)
    shard_rows = max(batch_size, _SHARD_BYTES // (model.config.hidden_size * 4 * len(wanted)))
    for start in range(writer.rows, len(encoded), shard_rows):
        rows = encoded[start : start + shard_rows]
        states = _forward(model, blocks, wanted, rows, batch_size, mean=positions == "mean")
        writer.append(
            len(rows), [_as_bytes(states[i], dtype, layer, start) for i, layer in enumerate(wanted)]
        )
    del writer
    captured = ActivationStore(folder)
    captured._temporary = temporary
    return captured


def _blocks(model: "PreTrainedModel") -> Any:
    from torch.nn import ModuleList

    count = model.config.num_hidden_layers
    for module in model.modules():
        if isinstance(module, ModuleList) and len(module) == count:
            return module
    raise CaptureError(f"{type(model).__name__} has no list of {count} blocks to capture from")


def _encode(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], positions: Position
) -> list[tuple[list[int], int]]:
    """Ids of each text and the index of the token to take."""
    spans = None if isinstance(positions, str) else list(positions)
    if spans is not None and len(spans) != len(texts):
        raise CaptureError(f"{len(spans)} spans for {len(texts)} texts")
    if not texts:
        return []
    encoded = tokenizer(list(texts), return_offsets_mapping=spans is not None)
    rows = []
    for i, ids in enumerate(encoded["input_ids"]):
        if not ids or not texts[i]:
            raise CaptureError(f"text {i} is empty")
        at = len(ids) - 1
        if spans is not None:
            start, end = spans[i]
            overlapping = [
                k for k, (a, b) in enumerate(encoded["offset_mapping"][i]) if max(a, start) < min(b, end)
            ]
            if not (0 <= start < end <= len(texts[i]) and overlapping):
                raise CaptureError(
                    f"text {i} has {len(texts[i])} characters; the span {start} to {end} is not in it"
                )
            at = overlapping[-1]
        rows.append((ids, at))
    return rows


def _forward(
    model: "PreTrainedModel",
    blocks: Any,
    layers: Sequence[int],
    rows: Sequence[tuple[list[int], int]],
    batch_size: int,
    *,
    mean: bool,
) -> NDArray[np.float32]:
    """States of the rows, shape (layers, rows, width)."""
    import torch

    result = np.empty((len(layers), len(rows), model.config.hidden_size), np.float32)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    seen: dict[int, torch.Tensor] = {}
    hooks = [
        blocks[0].register_forward_pre_hook(
            lambda _, args, kwargs: _keep(seen, 0, args or tuple(kwargs.values())), with_kwargs=True
        )
    ]
    hooks += [
        block.register_forward_hook(lambda _, __, output, layer=i + 1: _keep(seen, layer, output))
        for i, block in enumerate(blocks)
    ]
    try:
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            width = max(len(rows[i][0]) for i in batch)
            ids = torch.tensor(
                [rows[i][0] + [0] * (width - len(rows[i][0])) for i in batch], device=model.device
            )
            mask = torch.tensor(
                [[1] * len(rows[i][0]) + [0] * (width - len(rows[i][0])) for i in batch], device=model.device
            )
            with torch.no_grad():
                model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=1)
            at = torch.tensor([rows[i][1] for i in batch], device=model.device)
            for k, layer in enumerate(layers):
                states = seen[layer].float()
                if mean:
                    taken = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
                else:
                    taken = states[torch.arange(len(batch), device=at.device), at]
                result[k, batch] = taken.cpu().numpy()
    finally:
        for hook in hooks:
            hook.remove()
    return result


def _keep(seen: dict[int, Any], layer: int, output: Any) -> None:
    seen[layer] = output[0] if isinstance(output, tuple) else output


def _as_bytes(states: NDArray[np.float32], dtype: str, layer: int, first_row: int) -> NDArray[np.uint8]:
    if dtype == "bfloat16":
        import torch

        stored = torch.from_numpy(states).bfloat16()
        finite, values = stored.isfinite().all(1).numpy(), stored.view(torch.int16).numpy()
    else:
        with np.errstate(over="ignore"):
            values = states.astype(_NUMPY[dtype])
        finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        row = first_row + int(np.flatnonzero(~finite)[0])
        raise CaptureError(f"text {row}, layer {layer}: an activation is not finite in {dtype}")
    return np.ascontiguousarray(values).view(np.uint8).reshape(-1)
