"""Models and tokenizers from a folder or a hub id: safetensors only, and no code of theirs is run."""

import inspect
import json
import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

# A word and a character that no vocabulary has.
_ANY_TEXT = "a \N{REPLACEMENT CHARACTER}"


class ModelError(Exception):
    """A model that cannot be used; the message says why and what to do."""


def device() -> torch.device:
    """Where models live: on the GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_model(source: str | Path) -> PreTrainedModel:
    """A causal language model in float32, on the GPU where there is one, ready to be read.

    Raises:
        ModelError: there is none, it holds no safetensors or needs code of its own, its files are damaged, or its
            weights are not those that its configuration asks for.
    """
    return _with_weights(AutoModelForCausalLM, "causal language model", source)


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


def _with_weights(kind: Any, called: str, source: str | Path) -> PreTrainedModel:
    """A model of a kind of transformers', all of whose weights are there."""
    model, found = _loaded(
        kind,
        source,
        partial(_why_no_model, called=called),
        dtype=torch.float32,
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are an error below, which names them
    )
    _check_weights(source, found)
    result: PreTrainedModel = model.to(device()).eval()
    return result


def _fast_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    """A tokenizer that traces tokens to characters and takes any text."""
    tokenizer: PreTrainedTokenizerBase = _loaded(AutoTokenizer, source, _why_no_tokenizer)
    if not tokenizer.is_fast:
        raise ModelError(
            f"{source}: the tokenizer is not a fast one, so tokens cannot be traced to characters"
        )
    try:
        tokenizer(_ANY_TEXT)
    except Exception as error:  # Rust's errors have no class of their own
        raise ModelError(
            f"{source}: the tokenizer fails on words that it does not know ({_line(error)})"
        ) from error
    return tokenizer


def _pad_with_end(tokenizer: PreTrainedTokenizerBase) -> None:
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token


def _loaded(kind: Any, source: str | Path, why: Any, **options: Any) -> Any:
    """What transformers loads. It raises whatever its parts do on damaged files, down to plain exceptions of Rust."""
    try:
        with _quiet():
            return kind.from_pretrained(source, trust_remote_code=False, **options)
    except MemoryError:
        raise ModelError(f"{source} does not fit into memory") from None
    except Exception as error:
        raise ModelError(
            _why_not_found(source, error) or _why_custom(source, error) or why(source, error)
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bars and reports, which would stand among what the caller prints; downloads keep theirs."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    hook = transformers_logging.set_tqdm_hook(
        lambda bar, arguments, options: bar(*arguments, **{**options, "disable": True})
    )
    try:
        yield
    finally:
        transformers_logging.set_tqdm_hook(hook)
        transformers_logging.set_verbosity(verbosity)


def _check_weights(source: str | Path, found: dict[str, Any]) -> None:
    """Check that nothing was filled at random."""
    if missing := found["missing_keys"]:
        raise ModelError(
            f"{source}: the weights lack {_named(missing)}, which config.json asks for; "
            "the file of weights and config.json are not of one model, or the file is damaged"
        )
    if mismatched := sorted(found["mismatched_keys"]):
        name, there, asked = mismatched[0]
        raise ModelError(
            f"{source}: {name} has the shape {list(there)} in the weights, and {list(asked)} by config.json"
            + (f"; so have {len(mismatched) - 1:,} more" if len(mismatched) > 1 else "")
            + "; they are not of one model"
        )
    if unexpected := found["unexpected_keys"]:
        logging.getLogger("valueattr").warning(
            "%s: %s in the weights has no place in the model by config.json and is left out",
            source,
            _named(unexpected),
        )


def _named(tensors: Collection[str]) -> str:
    first, *others = sorted(tensors)
    return f"{first} and {len(others):,} more tensors" if others else first


def _why_not_found(source: str | Path, error: Exception) -> str | None:
    """What is wrong where no files were found; None if there are some."""
    if os.path.isdir(source):  # which is no error where the path cannot be
        return None
    if os.path.exists(source):
        return f"{source} is a file; expected the folder of a model, or its id on the hub"
    said = str(error)
    if "gated repo" in said:
        return f"{source} is gated on the hub: accept its terms there and log in with `hf auth login`"
    if isinstance(error, OSError):
        return (
            f"{source} cannot be loaded: there is no such folder, and no such model on the hub, or the hub cannot be "
            "reached"
        )
    return None


def _why_custom(source: str | Path, error: Exception) -> str | None:
    if "trust_remote_code" in str(error):
        return f"{source} cannot be loaded: it needs code of its own, which is not run"
    return None


def _why_no_model(source: str | Path, error: Exception, called: str) -> str:
    """What is wrong with the files of a model."""
    folder = Path(source)
    if not os.path.isdir(folder):
        return _as_said(source, "model", error)
    weights = sorted(folder.glob("*.safetensors"))
    if reason := _why_no_json(folder / "config.json"):
        return reason
    if not weights:
        pickled = any([*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")])
        return f"{folder} is no model that can be loaded: it holds no safetensors" + (
            "; pickled weights are not read, as they may run code: save them as safetensors"
            if pickled
            else ""
        )
    for file in weights:
        try:
            with safe_open(file, "pt"):
                pass
        except (SafetensorError, OSError) as broken:
            return f"{file} is damaged or cut short; copy or download it again ({_line(broken)})"
    index = folder / "model.safetensors.index.json"
    if index.exists() and (reason := _why_no_json(index)):
        return reason
    return _as_said(source, called, error)


def _why_no_tokenizer(source: str | Path, error: Exception) -> str:
    """What is wrong with the files of a tokenizer."""
    folder = Path(source)
    if not os.path.isdir(folder):
        return _as_said(source, "tokenizer", error)
    if not (folder / "tokenizer.json").exists():
        return f"{folder} has no tokenizer that can be loaded: it holds no tokenizer.json"
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json"):
        if (folder / name).exists() and (reason := _why_no_json(folder / name)):
            return reason
    return f"{folder / 'tokenizer.json'} is no tokenizer that can be loaded; copy or download it again ({_line(error)})"


def _why_no_json(file: Path) -> str | None:
    """Why a file holds no JSON object; None if it does."""
    try:
        value = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return f"{file} is missing: {file.parent} is no model that can be loaded"
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}"
    except (ValueError, RecursionError) as error:
        return f"{file} is no JSON, so nothing can be loaded; copy or download it again ({_line(error)})"
    return None if isinstance(value, dict) else f"{file} is no JSON object; copy or download it again"


def _as_said(source: str | Path, kind: str, error: Exception) -> str:
    return f"{source} is no {kind} that can be loaded: {_line(error)}"


def _line(error: BaseException) -> str:
    """The first line of what an error says, or its name if it says nothing."""
    said = str(error).strip()
    return said.splitlines()[0].rstrip(".:") if said else type(error).__name__


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
