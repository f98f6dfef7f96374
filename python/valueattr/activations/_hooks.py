"""Forward hooks that see the residual stream of a transformers model between its blocks.

Importing this does not import torch.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from valueattr.activations._encoding import EncodedText
from valueattr.activations._shards import CaptureError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

__all__ = ["BlockHooks", "blocks_of"]


def blocks_of(model: "PreTrainedModel") -> Any:
    """The blocks of a model: its first `ModuleList` of `num_hidden_layers` modules.

    Raises:
        CaptureError: the model has no such list.
    """
    from torch.nn import ModuleList

    count = model.config.num_hidden_layers
    for module in model.modules():
        if count and isinstance(module, ModuleList) and len(module) == count:
            return module
    raise CaptureError(f"{type(model).__name__} has no list of {count} blocks to capture from")


class BlockHooks:
    """Keeps what enters the first block and what leaves each block, while the context lasts."""

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

    def __enter__(self) -> "BlockHooks":
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def states(
        self, model: "PreTrainedModel", batch: Sequence[EncodedText], layers: Sequence[int], mean: bool
    ) -> "torch.Tensor":
        """One forward pass: the states (layers, rows, width) on the model's device, the rows of each text in turn."""
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
