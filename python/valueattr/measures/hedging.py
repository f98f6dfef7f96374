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

Texts = Any
"""A sequence of str, or an Arrow array of strings (anything with `__arrow_c_array__`)."""

__all__ = ["KINDS", "HedgeScanner", "LexiconError"]


class HedgeScanner:
    """Counts hedging phrases of a lexicon.

    lexicon: a TOML file (its syntax is described in docs/lexicon.md); the shipped English one by default.
    threads: at most this many; one per core by default. The result does not depend on it.

    Raises:
        LexiconError: the lexicon is broken; the message names the line.
    """

    def __init__(self, lexicon: str | Path | None = None, threads: int | None = None) -> None:
        source = None if lexicon is None else Path(lexicon).read_text("utf-8")
        self._scanner = _core.Scanner(source, threads or 0)
        self.entries = self._scanner.entries()

    def scan(self, texts: Texts) -> pa.RecordBatch:
        """One row per text.

        Columns: `words` and `sentences` (int32); a count per kind (int32); `first_hedge`, the character at which the
        first phrase of a kind other than booster starts (int32, null if there is none); `hedge_only`, whether every
        sentence holds a phrase that takes the place of an answer (both_sides, deflection, ai_disclaimer,
        non_affirmation or refusal) and there is at least one.

        Raises:
            TypeError: an item is no text, or is null; the message names its index.
            ValueError: an item holds a lone surrogate.
        """
        if isinstance(texts, pa.Array | pa.ChunkedArray) or hasattr(texts, "__arrow_c_array__"):
            columns = self._scanner.count_buffers(*_buffers(texts))
        else:
            columns = self._scanner.count_list(list(texts))
        first = columns.pop("first_hedge")
        only = columns.pop("hedge_only")
        arrays: dict[str, Any] = {name: pa.array(column.view(np.int32)) for name, column in columns.items()}
        arrays["first_hedge"] = pa.array(first.astype(np.int32), mask=first < 0)
        arrays["hedge_only"] = pa.array(only)
        return pa.RecordBatch.from_pydict(arrays)

    def spans(self, texts: Texts) -> pa.RecordBatch:
        """One row per phrase that counts, in the order of the texts.

        Columns: `document`, the index of the text (int32); `kind` and `entry`, its pattern in the lexicon
        (dictionary-encoded strings); `start` and `end`, characters of the text (int32, end exclusive).

        Raises:
            As `scan`.
        """
        if isinstance(texts, pa.Array | pa.ChunkedArray) or hasattr(texts, "__arrow_c_array__"):
            columns = self._scanner.spans_buffers(*_buffers(texts))
        else:
            columns = self._scanner.spans_list(list(texts))
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
            }
        )


def _buffers(texts: Any) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Offsets and UTF-8 bytes of an Arrow array of strings; large strings are not copied."""
    array = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else pa.array(texts)
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
