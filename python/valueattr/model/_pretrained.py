"""What transformers loads from a folder or an id of the hub: safetensors only, no code of its own, and errors of one line."""

import json
import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers.utils import find_adapter_config_file
from transformers.utils import logging as transformers_logging

from valueattr.model._errors import ModelError, first_line


def pretrained(kind: Any, source: str | Path, why: Any, **options: Any) -> Any:
    """What transformers loads. It raises whatever its parts do on damaged files, down to plain exceptions of Rust."""
    try:
        with quiet(), fitting(source):
            return kind.from_pretrained(source, trust_remote_code=False, **options)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            _why_not_found(source, error, options.get("revision"))
            or _why_custom(source, error)
            or why(source, error)
        ) from error


@contextmanager
def fitting(source: object) -> Iterator[None]:
    """A model that does not fit into memory is an error that says so, on a GPU as well."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # torch has no class for what it cannot allocate on a CPU.
        if isinstance(error, RuntimeError) and "allocate" not in str(error):
            raise
        raise ModelError(f"{source} does not fit into memory: choose a smaller model") from None


def refuse_adapter(source: str, **options: Any) -> None:
    """Refuse an adapter in place of a model: transformers would fetch the base that it names, and merge nothing."""
    try:
        found = find_adapter_config_file(source, **options)
    except Exception:  # the model is not found either, and then it is said why
        return
    if found is not None:
        raise ModelError(
            f"{source} is an adapter, which is merged into a model: write both as BASE+ADAPTER "
            "(a whole model has no adapter_config.json in its folder)"
        )


@contextmanager
def quiet() -> Iterator[None]:
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


def check_weights(source: str | Path, found: dict[str, Any]) -> None:
    """Check that nothing was filled at random."""
    if missing := found["missing_keys"]:
        raise ModelError(
            f"{source}: the weights lack {named(missing)}, which config.json asks for; "
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
            named(unexpected),
        )


def named(tensors: Collection[str]) -> str:
    first, *others = sorted(tensors)
    return f"{first} and {len(others):,} more tensors" if others else first


def _why_not_found(source: str | Path, error: Exception, revision: str | None) -> str | None:
    """What is wrong where no files were found; None if there are some."""
    if os.path.isdir(source):  # which is no error where the path cannot be
        return None
    if os.path.exists(source):
        return f"{source} is a file; expected the folder of a model, a .gguf file, or an id of the hub"
    said = str(error)
    if "gated repo" in said:
        return f"{source} is gated on the hub: accept its terms there and log in with `hf auth login`"
    if isinstance(error, OSError) and revision:
        return (
            f"{source}@{revision} cannot be loaded: there is no such model on the hub, or it has no such revision, or the "
            "hub cannot be reached"
        )
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


def why_no_model(source: str | Path, error: Exception, called: str) -> str:
    """What is wrong with the files of a model."""
    folder = Path(source)
    if not os.path.isdir(folder):
        return _as_said(source, "model", error)
    weights = sorted(folder.glob("*.safetensors"))
    if reason := why_no_json(folder / "config.json"):
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
            return f"{file} is damaged or cut short; copy or download it again ({first_line(broken)})"
    index = folder / "model.safetensors.index.json"
    if index.exists() and (reason := why_no_json(index)):
        return reason
    return _as_said(source, called, error)


def why_no_tokenizer(source: str | Path, error: Exception) -> str:
    """What is wrong with the files of a tokenizer."""
    folder = Path(source)
    if not os.path.isdir(folder):
        return _as_said(source, "tokenizer", error)
    if not (folder / "tokenizer.json").exists():
        return f"{folder} has no tokenizer that can be loaded: it holds no tokenizer.json"
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json"):
        if (folder / name).exists() and (reason := why_no_json(folder / name)):
            return reason
    return f"{folder / 'tokenizer.json'} is no tokenizer that can be loaded; copy or download it again ({first_line(error)})"


def why_no_json(file: Path) -> str | None:
    """Why a file holds no JSON object; None if it does."""
    try:
        value = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return f"{file} is missing: {file.parent} is no model that can be loaded"
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}"
    except (ValueError, RecursionError) as error:
        return f"{file} is no JSON, so nothing can be loaded; copy or download it again ({first_line(error)})"
    return None if isinstance(value, dict) else f"{file} is no JSON object; copy or download it again"


def _as_said(source: str | Path, kind: str, error: Exception) -> str:
    return f"{source} is no {kind} that can be loaded: {first_line(error)}"
