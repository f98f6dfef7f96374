"""Options that hold several values in one word, and a hint that commands share. What cannot be read is bad usage."""

import shlex
from pathlib import Path
from typing import Literal

from valueattr.cli import render

MODEL_FORMS = "a folder, a hub id (ORG/NAME or ORG/NAME@REVISION), a .gguf file, or one of these with a LoRA adapter as BASE+ADAPTER"
"""Where a model may come from, as the help of every command says it."""


def layers(text: str) -> Literal["all"] | list[int]:
    """What --layers names: all layers, or those with these numbers."""
    if text == "all":
        return "all"
    try:
        return [int(layer) for layer in text.split(",")]
    except ValueError:
        render.fail(f"--layers {text}: expected all, or numbers such as 0,6,12", render.BAD_USAGE)


def penalties(text: str) -> list[float]:
    """The numbers of --l2."""
    try:
        return [float(penalty) for penalty in text.split(",")]
    except ValueError:
        render.fail(f"--l2 {text}: expected numbers such as 1e-4,1e-2", render.BAD_USAGE)


def named_store(text: str) -> tuple[str, Path]:
    """The name and the folder of --apply-to."""
    name, _, folder = text.partition("=")
    if not (name and folder):
        render.fail(f"--apply-to {text}: expected NAME=STORE", render.BAD_USAGE)
    return name, Path(folder)


def rebuild_hint(store: Path) -> str:
    """What to type where a store has lost its journal."""
    return f"valueattr rebuild {shlex.quote(str(store))} does that."
