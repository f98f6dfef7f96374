"""What a model can read: how many tokens at once, and which."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["TokenLimits"]


class TokenLimits(NamedTuple):
    """The longest text that a model was made for, in tokens (None where nothing limits it), and its number of tokens.

    A model with learned positions fails beyond its context. One with rotary positions goes on, with states and
    probabilities that mean nothing.
    """

    context: int | None
    vocabulary: int

    @classmethod
    def of(cls, model: "PreTrainedModel") -> "TokenLimits":
        """The limits that a model's configuration and embeddings give."""
        inner = getattr(model, "module", model)  # data-parallel training wraps the model
        context = _context(inner.config.get_text_config())
        if context is not None:
            context -= _positions_left_out(inner)
        return cls(context, inner.get_input_embeddings().weight.shape[0])

    def complaint(self, ids: Sequence[int]) -> str | None:
        """Why the model cannot read these tokens, to be said after the name of their text; None if it can."""
        if self.context is not None and len(ids) > self.context:
            return f"has {len(ids):,} tokens; the model reads at most {self.context:,}"
        if ids and max(ids) >= self.vocabulary:
            return (
                f"has the token {max(ids)}, and the model only those below {self.vocabulary}: "
                "the tokenizer is that of another model"
            )
        return None


def _context(config: Any) -> int | None:
    given = [getattr(config, name, None) for name in ("max_position_embeddings", "max_seq_len")]
    stated: int | None = next((length for length in given if isinstance(length, int)), None)
    if stated is None:
        return None
    # Rotary positions that were stretched, for all layers or by kind of layer, reach further.
    rotary = getattr(config, "rope_parameters", None) or {}
    kinds = [rotary, *(of_kind for of_kind in rotary.values() if isinstance(of_kind, dict))]
    stretched = [
        int(of_kind["factor"] * of_kind["original_max_position_embeddings"])
        for of_kind in kinds
        if of_kind.get("factor") and of_kind.get("original_max_position_embeddings")
    ]
    return max(stated, *stretched) if stretched else stated


def _positions_left_out(model: "PreTrainedModel") -> int:
    """How many of its positions a model gives to no token: RoBERTa and its kin count from after the padding token's."""
    tables = (module for name, module in model.named_modules() if name.endswith("position_embeddings"))
    padding = [table.padding_idx for table in tables if getattr(table, "padding_idx", None) is not None]
    return int(padding[0]) + 1 if padding else 0
