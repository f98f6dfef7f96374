"""The residual stream of a model on texts: captured once, kept in a store that can be read in any order.

Importing this does not import torch.
"""

from valueattr.activations._capture import CaptureError, Position, capture, import_vllm
from valueattr.activations._store import ActivationStore, Batch, Layer, RowOrder, StoreError

__all__ = [
    "ActivationStore",
    "Batch",
    "CaptureError",
    "Layer",
    "Position",
    "RowOrder",
    "StoreError",
    "capture",
    "import_vllm",
]
