"""The residual stream of a model on texts: captured once, kept in a store that can be read in any order.

Importing this does not import torch.
"""

from valueattr.activations._capture import capture
from valueattr.activations._encoding import Position
from valueattr.activations._order import RowOrder
from valueattr.activations._shards import CaptureError
from valueattr.activations._store import ActivationStore, Batch, Layer, StoreError
from valueattr.activations._vllm import import_vllm

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
