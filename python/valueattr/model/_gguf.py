"""GGUF files, which hold quantised weights: each is converted once, to a folder in the cache that is loaded from then on."""

import hashlib
from contextlib import redirect_stderr
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from valueattr.model._cache import cache_directory, cached_folder
from valueattr.model._errors import ModelError, first_line
from valueattr.model._pretrained import check_weights, pretrained, quiet


def converted(file: Path) -> Path:
    """The folder of the model and the tokenizer of a GGUF file, in float32; in the cache under the SHA-256 of the file.

    Raises:
        ModelError: there is no such file, it is no GGUF, is cut short or of an architecture that transformers cannot read
            from GGUF; the package gguf is not installed; or the cache cannot be written.
    """
    try:
        found = file.stat()
        digest = _sha256(file.resolve(), found.st_size, found.st_mtime_ns)
    except FileNotFoundError:
        raise ModelError(f"{file}: there is no such file") from None
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}") from None
    # Another release of transformers may read the same file otherwise.
    name = f"gguf-{digest[:16]}-transformers-{transformers.__version__}"
    cache = cache_directory()
    try:
        return cached_folder(name, lambda folder: _convert(file, folder), cache)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{file} cannot be converted into {cache} ({first_line(error)}); VALUEATTR_CACHE names another folder"
        ) from error


@lru_cache
def _sha256(file: Path, size: int, modified: int) -> str:
    """A model is loaded many times in a run, and its file hashed once: its size and time tell whether it is the same."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _convert(file: Path, folder: Path) -> None:
    _check_whole(file)
    with redirect_stderr(StringIO()):  # a bar which transformers draws whatever its settings are
        model, found = _loaded(
            AutoModelForCausalLM, "model", file, dtype=torch.float32, output_loading_info=True
        )
    check_weights(file, found)
    tokenizer = _loaded(AutoTokenizer, "tokenizer", file)
    # The weights are plain ones now, and transformers saves none that it takes for quantised.
    del model.config.quantization_config
    model.hf_quantizer = None
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _loaded(kind: Any, called: str, file: Path, **options: Any) -> Any:
    def why(_: str | Path, error: Exception) -> str:
        if "architecture" in str(error):
            return (
                f"{file}: transformers cannot read its architecture from GGUF ({first_line(error)}); "
                "take the model as safetensors"
            )
        return f"{file}: its {called} cannot be read from GGUF: {first_line(error)}"

    return pretrained(kind, file.parent, why, gguf_file=file.name, **options)


def _check_whole(file: Path) -> None:
    """Check that a file is GGUF and holds all that its header announces.

    transformers reads on past the end: what is cut would be another error each time, or a loop of as many turns as a
    damaged header says.
    """
    try:
        import gguf
    except ImportError:
        raise ModelError(
            f"{file} needs the package gguf, which is not installed: pip install 'valueattr[train]'"
        ) from None

    class Bounded(gguf.GGUFReader):
        def _get(self, offset: int, dtype: Any, count: int = 1, *more: Any, **options: Any) -> Any:
            values = super()._get(offset, dtype, count, *more, **options)
            if len(values) < count:
                raise EOFError
            return values

    with file.open("rb") as opened:
        magic = opened.read(4)
    if magic != b"GGUF":
        raise ModelError(f"{file} is no GGUF file, whatever its name says; download it again")
    try:
        fields = Bounded(file).fields
    except Exception as error:  # the reader checks little, and then whatever it calls raises
        raise ModelError(
            f"{file} is damaged or cut short; download it again"
            + ("" if isinstance(error, EOFError) else f" ({first_line(error)})")
        ) from error
    if "general.architecture" not in fields:
        raise ModelError(f"{file} is no model: it names no architecture; download it again")
