"""A model that is trained by an adapter (LoRA) holds its start as well: itself with the adapter off."""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel


@contextmanager
def reference_of(model: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """The model as it was before its adapter was trained; a model without one is taken as it is.

    Nothing is copied: inside, the model's own adapter is off.
    """
    layers = [layer for layer in model.modules() if hasattr(layer, "lora_A") and not layer.disable_adapters]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield model
    finally:
        for layer in layers:
            layer.enable_adapters(True)
