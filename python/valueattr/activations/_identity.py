"""Which model a capture is of, so that a store holds the activations of one model only.

Importing this does not import torch.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from valueattr import _core

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["ModelIdentity"]

_METADATA = b"model"

# What may change without any activation changing.
_IMMATERIAL = ("_name_or_path", "architectures", "dtype", "transformers_version", "use_cache")


@dataclass(frozen=True)
class ModelIdentity:
    """What tells models apart: XXH3 hashes of `weights`, `config` and `tokenizer`, and the `dtype` of the weights.

    A hash is None where it cannot be taken: of weights that are not in memory, of a tokenizer that is not a fast one.
    `source` and `revision` (of a model from the hub) are for people, and not compared: the same weights lie in many
    places.
    """

    source: str
    revision: str | None
    dtype: str
    weights: str | None
    config: str
    tokenizer: str | None

    @classmethod
    def of(cls, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> "ModelIdentity":
        """Hash a model and its tokenizer, which takes as long as reading the weights from memory once."""
        return cls(
            source=str(getattr(model.config, "_name_or_path", "")),
            revision=getattr(model.config, "_commit_hash", None),
            dtype=str(model.dtype).removeprefix("torch."),
            weights=_weights_hash(model),
            config=_hash_of(
                {
                    name: value
                    for name, value in model.config.to_diff_dict().items()
                    if name not in _IMMATERIAL and not name.endswith("_token_id")
                }
            ),
            tokenizer=_tokenizer_hash(tokenizer),
        )

    def differences(self, other: "ModelIdentity") -> list[str]:
        """What is known of both and differs: some of weights, config, tokenizer and dtype."""
        return [
            name
            for name in ("weights", "config", "tokenizer", "dtype")
            if None not in (one := (getattr(self, name), getattr(other, name))) and one[0] != one[1]
        ]

    def __str__(self) -> str:
        at = f" at revision {self.revision}" if self.revision else ""
        return f"{self.source or 'a model without a name'}{at} in {self.dtype}"

    def recorded_in(self, schema: pa.Schema) -> pa.Schema:
        """The schema of a table of texts, with this model."""
        return schema.with_metadata({**(schema.metadata or {}), _METADATA: json.dumps(asdict(self))})

    @classmethod
    def read_from(cls, schema: pa.Schema) -> "ModelIdentity | None":
        """The model that is recorded in the schema of a table of texts; None if there is none.

        Raises:
            ValueError: what is recorded is no model.
        """
        recorded = (schema.metadata or {}).get(_METADATA)
        try:
            return None if recorded is None else cls(**json.loads(recorded))
        except TypeError as error:
            raise ValueError(f"the model that it records cannot be read: {error}") from None


def without_model(schema: pa.Schema) -> pa.Schema:
    """The schema of a table of texts without the model."""
    return schema.with_metadata({k: v for k, v in (schema.metadata or {}).items() if k != _METADATA})


def _weights_hash(model: "PreTrainedModel") -> str | None:
    import torch

    hashes: list[tuple[str, str, list[int], str]] = []
    seen: set[tuple[int, tuple[int, ...]]] = set()
    for name, tensor in model.state_dict().items():
        if tensor.is_meta:  # it lies on the disk, and comes to memory when it is used
            return None
        place = (tensor.data_ptr(), tuple(tensor.shape))
        if place in seen:  # tied to another one
            continue
        seen.add(place)
        raw = tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy()
        hashes.append((name, str(tensor.dtype), list(tensor.shape), _core.xxh3(raw)))
    return _hash_of(hashes)


def _tokenizer_hash(tokenizer: "PreTrainedTokenizerBase") -> str | None:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    # Padding and truncation are set anew by each call.
    described: Mapping[str, Any] = json.loads(backend.to_str())
    return _hash_of({k: v for k, v in described.items() if k not in ("padding", "truncation")})


def _hash_of(value: object) -> str:
    written = json.dumps(value, sort_keys=True, default=str).encode()
    return _core.xxh3(np.frombuffer(written, np.uint8))
