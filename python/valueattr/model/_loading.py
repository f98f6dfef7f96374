"""Models and tokenizers from wherever a user says that they lie, ready to be read."""

import inspect
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from valueattr.model._adapters import merged
from valueattr.model._errors import ModelError, first_line
from valueattr.model._pretrained import (
    check_weights,
    fitting,
    pretrained,
    refuse_adapter,
    why_no_model,
    why_no_tokenizer,
)
from valueattr.model._sources import Source

# A word and a character that no vocabulary has.
_ANY_TEXT = "a \N{REPLACEMENT CHARACTER}"


def device() -> torch.device:
    """Where models live: on the GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_model(source: str | Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A causal language model, on the GPU where there is one, ready to be read.

    source: a folder, an id of the hub (`ID` or `ID@REVISION`), a `.gguf` file, or `BASE+ADAPTER`, where the base is one
    of these and the adapter, a folder or an id of the hub, a LoRA of it, which is merged in float32.
    dtype: of the weights.

    Raises:
        ModelError: there is none, it holds no safetensors or needs code of its own, its files are damaged, or its
            weights are not those that its configuration asks for; it does not fit into memory; the GGUF file cannot be
            converted, or the adapter not merged.
    """
    return _with_weights(AutoModelForCausalLM, "causal language model", source, dtype)


def load_classifier(source: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A classifier of whole texts, as `load_model` loads a language model, and its tokenizer, which can pad.

    Raises:
        ModelError: as for `load_model`, or the tokenizer is damaged, is not a fast one, fails on unknown words, or has
            neither a token to pad with nor an end-of-text token.
    """
    model = _with_weights(AutoModelForSequenceClassification, "classifier", source)
    tokenizer = _fast_tokenizer(source)
    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is None:
        raise ModelError(
            f"{source}: the tokenizer has no token to pad with, so texts cannot be read together"
        )
    _pad_with_end(tokenizer)
    # A classifier that reads the last token finds it by what is padded.
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer, padding with the end-of-text token where it has no token for that.

    Raises:
        ModelError: there is none, it is damaged, it is not a fast one, it fails on unknown words, or it has no end-of-text
            token.
    """
    tokenizer = _fast_tokenizer(source)
    if tokenizer.eos_token_id is None:
        raise ModelError(f"{source}: the tokenizer has no end-of-text token, so responses cannot end")
    _pad_with_end(tokenizer)
    return tokenizer


def check_vocabulary(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Collection[str]
) -> None:
    """Check that the model has all tokens of some texts.

    Raises:
        ModelError: it lacks one.
    """
    most = model.get_input_embeddings().num_embeddings
    largest = max((token for ids in tokenizer(list(texts))["input_ids"] for token in ids), default=0)
    if largest >= most:
        raise ModelError(
            f"{tokenizer.name_or_path}: the tokenizer has the token {largest}, and the model only those below {most}: "
            "it is that of another model"
        )


def _with_weights(
    kind: Any, called: str, source: str | Path, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """A model of a kind of transformers', all of whose weights are there."""
    named = Source.of(source)
    place = named.files()
    refuse_adapter(place.name, **place.options)
    model, found = pretrained(
        kind,
        place.name,
        partial(why_no_model, called=called),
        dtype=torch.float32 if named.adapter else dtype,
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are an error below, which names them
        **place.options,
    )
    check_weights(str(place), found)
    with fitting(named):
        result: PreTrainedModel = model.to(device())
        if named.adapter:
            result = merged(result, named, named.adapter)
            for weight in result.parameters():  # and no buffers: positions stay in float32
                weight.data = weight.data.to(dtype)
    result.config._name_or_path, result.config._commit_hash = str(named), place.commit()
    return result.eval()


def _fast_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    """A tokenizer that traces tokens to characters and takes any text."""
    named = Source.of(source)
    place = named.files()
    tokenizer: PreTrainedTokenizerBase = pretrained(
        AutoTokenizer, place.name, why_no_tokenizer, **place.options
    )
    tokenizer.name_or_path = str(named)
    if not tokenizer.is_fast:
        raise ModelError(
            f"{source}: the tokenizer is not a fast one, so tokens cannot be traced to characters"
        )
    try:
        tokenizer(_ANY_TEXT)
    except Exception as error:  # Rust's errors have no class of their own
        raise ModelError(
            f"{source}: the tokenizer fails on words that it does not know ({first_line(error)})"
        ) from error
    return tokenizer


def _pad_with_end(tokenizer: PreTrainedTokenizerBase) -> None:
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token


def accepts(model: PreTrainedModel, argument: str) -> bool:
    """Whether the model takes an argument of this name."""
    inner = getattr(model, "module", model)  # data-parallel training wraps the model
    return argument in inspect.signature(inner.forward).parameters


def position_ids(model: PreTrainedModel, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """Positions that count from each row's first token, for models that take them.

    Without them a model with absolute positions (GPT-2) reads rows that are padded on the left as if they began later.
    """
    if not accepts(model, "position_ids"):
        return {}
    return {"position_ids": (mask.long().cumsum(-1) - 1).clamp(min=0)}
