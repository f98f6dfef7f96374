"""The residual stream of a model on texts: captured once, kept in a store that can be read in any order.

Importing this does not import torch.
"""

from valueattr.activations._capture import capture
from valueattr.activations._encoding import Position
from valueattr.activations._identity import ModelIdentity
from valueattr.activations._limits import TokenLimits
from valueattr.activations._order import RowOrder
from valueattr.activations._shards import CaptureError
from valueattr.activations._store import (
    ActivationStore,
    Batch,
    JournalError,
    Layer,
    Rebuilt,
    StoreError,
    Verified,
    rebuild_journal,
)
from valueattr.activations._vllm import import_vllm

__all__ = [
    "ActivationStore",
    "Batch",
    "CaptureError",
    "JournalError",
    "Layer",
    "ModelIdentity",
    "Position",
    "Rebuilt",
    "RowOrder",
    "StoreError",
    "TokenLimits",
    "Verified",
    "capture",
    "import_vllm",
    "rebuild_journal",
]
