"""LoRA adapters, as peft saves them: read from safetensors alone, held against the model, and merged into its weights.

A model whose adapter is being trained holds its start as well: itself with the adapter off.
"""

import json
import logging
import re
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel

from valueattr.model._errors import ModelError, first_line
from valueattr.model._pretrained import named, why_no_json
from valueattr.model._sources import Place, Source

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_MISMATCH = re.compile(r"size mismatch for (\S+): .*torch\.Size\((.*?)\).*torch\.Size\((.*?)\)")
# Names of weights that an adapter has beside those of the base.
_OWN = ("lora_", ".modules_to_save.")


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


def merged(model: PreTrainedModel, source: Source, adapter: Place) -> PreTrainedModel:
    """The model with the adapter in its weights, which it is merged into in place.

    Raises:
        ModelError: peft is not installed; there is no such adapter, it is no LoRA, has no safetensors, or is damaged; it
            is of another model, or changes embeddings that the model ties to its output.
    """
    peft = _peft(adapter)
    folder = _folder(adapter)
    described = _description(folder)
    weights = _weights(folder)
    embeddings = _embeddings(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they warn of is checked here
        try:
            adapted = peft.get_peft_model(model, peft.LoraConfig.from_pretrained(str(folder)))
            found = peft.set_peft_model_state_dict(adapted, weights)
        except Exception as error:  # whatever torch and peft raise on what does not fit
            raise ModelError(_why_unfit(source, adapter, error)) from error
        _check_bound(source, adapter, found.missing_keys, found.unexpected_keys)
        if model.config.get_text_config().tie_word_embeddings and _embeddings(model) != embeddings:
            raise ModelError(
                f"{adapter} changes the embeddings of {source.base}, which are its output weights too, "
                "so that it cannot be merged; train one that leaves embed_tokens and lm_head alone"
            )
        whole: PreTrainedModel = adapted.merge_and_unload()
    if (meant := described.get("base_model_name_or_path")) and isinstance(meant, str):
        _warn_of_another_base(adapter, Place.of(meant).last_name, source.base.last_name)
    return whole.requires_grad_(True)  # peft froze them


def _peft(adapter: Place) -> ModuleType:
    try:
        import peft
    except ImportError:
        raise ModelError(
            f"{adapter} needs the package peft, which is not installed: pip install 'valueattr[train]'"
        ) from None
    return peft


def _folder(adapter: Place) -> Path:
    """Where an adapter's files lie, which are fetched from the hub if need be: two of them, and no pickle."""
    folder = Path(adapter.name)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ModelError(f"{adapter} is a file; expected the folder of an adapter, or its id on the hub")
    try:
        return Path(snapshot_download(adapter.name, allow_patterns=[_CONFIG, _WEIGHTS], **adapter.options))
    except Exception as error:  # of the hub's client, of HTTP, or of the network
        if "gated" in str(error).lower():
            raise ModelError(
                f"{adapter} is gated on the hub: accept its terms there and log in with `hf auth login`"
            ) from error
        raise ModelError(
            f"{adapter} cannot be loaded: there is no such folder of an adapter, and none on the hub, or the hub cannot be "
            "reached"
        ) from error


def _description(folder: Path) -> dict[str, Any]:
    """What the adapter says of itself."""
    file = folder / _CONFIG
    if not file.exists():
        raise ModelError(f"{folder} is no adapter that can be loaded: it holds no {_CONFIG}")
    if reason := why_no_json(file):
        raise ModelError(reason)
    described: dict[str, Any] = json.loads(file.read_text("utf-8"))
    if described.get("peft_type") != "LORA":
        raise ModelError(
            f"{file}: the adapter is of the kind {described.get('peft_type')!r}, and only LORA can be merged"
        )
    return described


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    """The adapter's tensors, all of which are numbers."""
    file = folder / _WEIGHTS
    if not file.exists():
        raise ModelError(
            f"{folder} is no adapter that can be loaded: it holds no {_WEIGHTS}; pickled weights are not read, as they may "
            "run code: save them as safetensors"
        )
    try:
        weights = load_file(file)
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{file} is damaged or cut short; copy or download it again ({first_line(error)})"
        ) from error
    if broken := [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]:
        raise ModelError(
            f"{file}: {named(broken)} holds values that are no finite numbers: the training that made it diverged, or the "
            "file is damaged"
        )
    return weights


def _embeddings(model: PreTrainedModel) -> tuple[Any, Any]:
    return model.get_input_embeddings(), model.get_output_embeddings()


def _check_bound(
    source: Source, adapter: Place, missing: Collection[str], unexpected: Collection[str]
) -> None:
    """Check that the adapter's weights and the places for them in the model are the same ones."""
    if unexpected:
        raise ModelError(
            f"{adapter}: {named(unexpected)} has no place in {source.base}: it is the adapter of another model"
        )
    if lacking := [name for name in missing if any(own in name for own in _OWN)]:
        raise ModelError(
            f"{adapter} lacks {named(lacking)}, for which {source.base} has a place: it is the adapter of another model, or "
            "its file is damaged"
        )


def _why_unfit(source: Source, adapter: Place, error: Exception) -> str:
    if mismatch := _MISMATCH.search(str(error)):
        name, there, asked = mismatch.groups()
        return (
            f"{adapter}: {name} has the shape {there} in the adapter, and {asked} by {source.base}: it is the adapter of "
            "another model"
        )
    return f"{adapter} cannot be merged into {source.base}: {first_line(error)}"


@cache  # once, however often the model is loaded
def _warn_of_another_base(adapter: Place, meant: str, base: str) -> None:
    if meant.casefold() != base.casefold():
        logging.getLogger("valueattr").warning(
            "%s says that it was trained from %s and is merged into %s, whose shapes fit",
            adapter,
            meant,
            base,
        )
