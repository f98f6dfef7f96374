"""What names a model: a folder, a GGUF file or an id of the hub, and after a plus sign the adapter to be merged into it."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache

from valueattr.model._errors import ModelError
from valueattr.model._gguf import converted

_HUB_ID = re.compile(r"(?P<id>[\w.-]+(/[\w.-]+)?)(@(?P<revision>[^@]+))?")
_GGUF = ".gguf"


@dataclass(frozen=True)
class Place:
    """A path, or an id of the hub with the revision (a branch, tag or commit) that was asked for."""

    name: str
    revision: str | None = None

    @classmethod
    def of(cls, written: str) -> "Place":
        """Where there is such a path, it is meant."""
        hub = None if os.path.exists(written) or _is_gguf(written) else _HUB_ID.fullmatch(written)
        return cls(hub["id"], hub["revision"]) if hub else cls(written)

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}" if self.revision else self.name

    @property
    def last_name(self) -> str:
        """The name of the folder, file or model alone."""
        return Path(self.name).absolute().name

    @property
    def options(self) -> dict[str, Any]:
        """What the hub is asked for besides the id."""
        return {"revision": self.revision} if self.revision else {}

    def commit(self) -> str | None:
        """The commit of the hub that was loaded, by where the hub's client keeps it; None of a path."""
        if os.path.exists(self.name):
            return None
        kept = try_to_load_from_cache(self.name, "config.json", revision=self.revision)
        return Path(kept).parent.name if isinstance(kept, str) else None


@dataclass(frozen=True)
class Source:
    """A model as its user names it."""

    base: Place
    adapter: Place | None = None

    @classmethod
    def of(cls, written: str | Path) -> "Source":
        """Read what a user wrote.

        Raises:
            ModelError: there is nothing before or after the plus sign.
        """
        text = str(written)
        if os.path.exists(text) or "+" not in text:
            return cls(Place.of(text))
        if text.startswith("+") or text.endswith("+"):
            raise ModelError(f"{text}: write a model and its adapter as BASE+ADAPTER, without spaces")
        # Names of folders have plus signs of their own: the first split into two that may be there is meant.
        splits = [(text[:i], text[i + 1 :]) for i, character in enumerate(text) if character == "+"]
        base, adapter = next((split for split in splits if all(map(_may_be_there, split))), splits[0])
        return cls(Place.of(base), Place.of(adapter))

    def __str__(self) -> str:
        return f"{self.base}+{self.adapter}" if self.adapter else str(self.base)

    def files(self) -> Place:
        """Where transformers finds the base: of a GGUF file, the folder that it is converted to on first use.

        Raises:
            ModelError: there is no such GGUF file, or it cannot be converted.
        """
        if _is_gguf(self.base.name) and not os.path.isdir(self.base.name):
            return Place(str(converted(Path(self.base.name))))
        return self.base


def _is_gguf(name: str) -> bool:
    return name.lower().endswith(_GGUF)


def _may_be_there(name: str) -> bool:
    return os.path.exists(name) or _HUB_ID.fullmatch(name) is not None


def shown_name(written: str | Path) -> str:
    """The name of a model without the folders before it, and that of its adapter."""
    source = Source.of(written)
    return "+".join(place.last_name for place in (source.base, source.adapter) if place)
