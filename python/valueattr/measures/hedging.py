"""Hedging phrases: how many of which kind, and where.

    >>> HedgeScanner().scan(["I am not sure, but it may be copper."]).to_pylist()[0]["non_affirmation"]
    1

Importing this imports neither torch nor transformers.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from valueattr import _core
from valueattr._core import LexiconError

KINDS: tuple[str, ...] = tuple(_core.KINDS)
"""Kinds of phrase, in the order of the columns; `booster` is the opposite of a hedge."""

HEDGES: tuple[str, ...] = tuple(kind for kind in KINDS if kind != "booster")
"""The kinds that hedge."""

Texts = Any
"""Several str, or an Arrow array or stream of strings (anything with `__arrow_c_array__` or `__arrow_c_stream__`)."""

__all__ = ["HEDGES", "KINDS", "HedgeScanner", "LexiconError"]


class HedgeScanner:
    """Counts hedging phrases of a lexicon.

    lexicon: a TOML file (its syntax is described in docs/lexicon.md); the shipped English one by default.
    threads: at most this many; one per core by default. The result does not depend on it.

    Raises:
        LexiconError: the lexicon is broken; the message names the file and the line.
        ValueError: `threads` is less than 1.
    """

    def __init__(self, lexicon: str | Path | None = None, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"threads is {threads}, expected at least 1, or None for one per core")
        source = None if lexicon is None else _read(Path(lexicon))
        try:
            self._scanner = _core.Scanner(source, threads or 0)
        except LexiconError as error:
            raise LexiconError(f"{lexicon or 'the shipped lexicon'}: {error}") from None
        self.entries = self._scanner.entries()

    def scan(self, texts: Texts) -> pa.RecordBatch:
        """One row per text.

        Columns: `words` and `sentences` (int32); a count per kind (int32); `first_hedge`, the character at which the
        first phrase of a kind other than booster starts (int32, null if there is none); `hedge_only`, whether every
        sentence holds a phrase that takes the place of an answer (both_sides, deflection, ai_disclaimer,
        non_affirmation or refusal) and there is at least one.

        Raises:
            TypeError: an item is no text, or is null (the message names its index), or `texts` is itself one str.
            ValueError: an item holds a lone surrogate.
        """
        array = _arrow(texts)
        if array is None:
            columns = self._scanner.count_list(_listed(texts))
        else:
            columns = self._scanner.count_buffers(*_buffers(array))
        first = columns.pop("first_hedge")
        only = columns.pop("hedge_only")
        arrays: dict[str, Any] = {name: pa.array(column.view(np.int32)) for name, column in columns.items()}
        arrays["first_hedge"] = pa.array(first.astype(np.int32), mask=first < 0)
        arrays["hedge_only"] = pa.array(only)
        return pa.RecordBatch.from_pydict(arrays)

    def spans(self, texts: Texts) -> pa.RecordBatch:
        """One row per phrase that counts, in the order of the texts.

        Columns: `document`, the index of the text (int32); `kind` and `entry`, its pattern in the lexicon
        (dictionary-encoded strings); `start` and `end`, characters of the text (int32, end exclusive); `sentence`, the
        index of the sentence that it starts in (int32).

        Raises:
            As `scan`.
        """
        array = _arrow(texts)
        if array is None:
            columns = self._scanner.spans_list(_listed(texts))
        else:
            columns = self._scanner.spans_buffers(*_buffers(array))
        entry = columns["entry"].view(np.int32)
        kind_of_entry = np.array([KINDS.index(kind) for kind, _, _ in self.entries], dtype=np.int32)
        patterns = [pattern for _, pattern, _ in self.entries]
        return pa.RecordBatch.from_pydict(
            {
                "document": pa.array(columns["document"].view(np.int32)),
                "kind": pa.DictionaryArray.from_arrays(pa.array(kind_of_entry[entry]), list(KINDS)),
                "entry": pa.DictionaryArray.from_arrays(pa.array(entry), patterns),
                "start": pa.array(columns["start"].view(np.int32)),
                "end": pa.array(columns["end"].view(np.int32)),
                "sentence": pa.array(columns["sentence"].view(np.int32)),
            }
        )


def _read(path: Path) -> str:
    source = path.read_bytes()
    try:
        return source.decode("utf-8")
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        raise LexiconError(
            f"{path}: line {line}: expected UTF-8, found byte {source[error.start]:#04x}"
        ) from None


def _listed(texts: Texts) -> list[str]:
    if isinstance(texts, str):
        # A str is a sequence of str too: its characters.
        raise TypeError("expected several texts, found one str; put it in a list")
    return list(texts)


def _arrow(texts: Texts) -> Any:
    """`texts` as one Arrow array, or None if it is not Arrow's."""
    if hasattr(texts, "__arrow_c_array__"):
        return pa.array(texts)
    if hasattr(texts, "__arrow_c_stream__"):
        return pa.chunked_array(texts).combine_chunks()
    return None


def _buffers(array: Any) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Offsets and UTF-8 bytes of an Arrow array of strings; large strings are not copied."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    if not any(is_kind(array.type) for is_kind in kinds):
        raise TypeError(f"expected an Arrow array of strings, found {array.type}")
    if array.null_count:
        raise TypeError(f"text {array.is_null().index(True).as_py()} is null, expected a string")
    array = array.cast(pa.large_string())
    _, offsets, data = array.buffers()
    if len(array) == 0:
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return ends, np.frombuffer(data or b"", np.uint8)
