"""Hedging phrases: how many of which kind, and where.

    >>> HedgeScanner().scan(["I am not sure, but it may be copper."]).to_pylist()[0]["non_affirmation"]
    1

Neither importing this nor scanning imports torch, transformers or pandas.
"""

import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from valueattr import _core
from valueattr._core import LexiconError
from valueattr.hedging._columns import column, strings

MODAL = "modal"
"""Modal and conditional forms (*could*, *would*, *if*): a kind that is counted if asked for."""

STANCE_KINDS = ("lecture", "offer")
"""Kinds that only a stance is read from: what is important or inappropriate, and what announces an answer."""

KINDS: tuple[str, ...] = tuple(kind for kind in _core.KINDS if kind not in (MODAL, *STANCE_KINDS))
"""Kinds of phrase, in the order of the columns; `booster` is the opposite of a hedge."""

STANCES: tuple[str, ...] = tuple(_core.STANCES)
"""What a response may do with its question: it answers; disclaims, then answers; answers partly; evades (redirects,
changes the subject, shows all sides); refuses; is unsure (says that it does not know); or is empty."""

HEDGES: tuple[str, ...] = tuple(kind for kind in KINDS if kind != "booster")
"""The kinds that hedge."""

Texts = Any
"""Several str, or an Arrow array or stream of strings (anything with `__arrow_c_array__` or `__arrow_c_stream__`)."""


class Entry(NamedTuple):
    """One entry of a lexicon; `line` is that of its pattern, `strength` from 0 (weakest hedge) to 1."""

    kind: str
    pattern: str
    strength: float | None
    example: str | None
    source: str | None
    line: int


class Phrase(NamedTuple):
    """A phrase of the lexicon that stands in a text, at characters `start` to `end` (exclusive).

    verdict: `counts`; the guard that keeps it from counting (`negation`, `quotation`, `question`, `unless_before`,
        `unless_after`); `longer` if a longer phrase of its kind begins with it; `covered` if one of its kind that
        began before covers its beginning.
    """

    entry: Entry
    start: int
    end: int
    verdict: str


class StanceReasons(NamedTuple):
    """What a text does with its question, and by how much each of its features speaks for a refusal."""

    stance: str
    reasons: dict[str, float]


class HedgeScanner:
    """Counts hedging phrases of a lexicon.

    lexicon: a TOML file (its syntax is described in docs/lexicon.md); the shipped English one by default.
    threads: at most this many, and never more than one per core, which is the default. The result does not depend on it.
    modal: count the kind `modal` too.
    stance: also say what each text does with its question, and look for the phrases of `STANCE_KINDS`.

    It can be pickled, and then takes its lexicon along.

    Raises:
        LexiconError: the lexicon is broken; the message names the file and the line.
        ValueError: `threads` is less than 1.
    """

    def __init__(
        self,
        lexicon: str | Path | None = None,
        threads: int | None = None,
        *,
        modal: bool = False,
        stance: bool = False,
    ) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"threads is {threads}, expected at least 1, or None for one per core")
        source = None if lexicon is None else _read(Path(lexicon))
        try:
            self._compile(source, threads, modal, stance)
        except LexiconError as error:
            raise LexiconError(f"{lexicon or 'the shipped lexicon'}: {error}") from None

    def _compile(self, source: str | None, threads: int | None, modal: bool, stance: bool) -> None:
        self._given = (source, threads, modal, stance)
        self._scanner = _core.Scanner(source, min(threads or 0, os.cpu_count() or 1), modal, stance)
        self.entries = [Entry(*entry) for entry in self._scanner.entries()]
        self.kinds = (*KINDS, MODAL) if modal else KINDS
        self.reads_stance = stance
        self._patterns = strings([entry.pattern for entry in self.entries])
        kinds = list(_core.KINDS)
        self._kind_of_entry = np.array([kinds.index(e.kind) for e in self.entries], dtype=np.int32)
        self._all_kinds = strings(kinds)

    def __getstate__(self) -> tuple[str | None, int | None, bool, bool]:
        return self._given

    def __setstate__(self, given: tuple[str | None, int | None, bool, bool]) -> None:
        self._compile(*given)

    def scan(self, texts: Texts) -> pa.RecordBatch:
        """One row per text.

        Columns: `words` and `sentences` (int32); a count per kind (int32); `first_hedge`, the character at which the
        first phrase of a kind other than booster starts (int32, null if there is none); `hedge_only`, whether every
        sentence holds a phrase that takes the place of an answer (both_sides, deflection, ai_disclaimer,
        non_affirmation or refusal) and there is at least one. A scanner with `stance` adds `stance`, one of `STANCES`
        (dictionary-encoded strings), and `declines`, how likely people are to call the text anything but an answer
        (float32, 0 to 1).

        Raises:
            TypeError: an item is no text, or is null (the message names its index), or `texts` is itself one str.
            ValueError: an item holds a lone surrogate.
        """
        array = _arrow(texts)
        if array is None:
            columns = self._scanner.count_list(_listed(texts))
        else:
            columns = self._scanner.count_buffers(*_buffers(array))
        return count_table(columns)

    def spans(self, texts: Texts) -> pa.RecordBatch:
        """One row per phrase that counts, in the order of the texts.

        Columns: `document`, the index of the text (int32); `kind` and `entry`, its pattern in the lexicon
        (dictionary-encoded strings); `start` and `end`, characters of the text (int32, end exclusive); `sentence`, the
        index of the sentence that it starts in (int32).

        Raises:
            TypeError, ValueError: as for `scan`.
        """
        array = _arrow(texts)
        if array is None:
            columns = self._scanner.spans_list(_listed(texts))
        else:
            columns = self._scanner.spans_buffers(*_buffers(array))
        return self.span_table(columns)

    def explain(self, text: str) -> list[Phrase]:
        """Every phrase of the lexicon in a text, and whether it counts or why not; by start, longest first.

        Raises:
            ValueError: the text holds a lone surrogate.
        """
        found = self._scanner.explain(text)
        return [Phrase(self.entries[entry], start, end, verdict) for entry, start, end, verdict in found]

    def stance(self, text: str) -> StanceReasons:
        """The stance of a text, and what speaks for a refusal (above 0) or against it (below), the strongest first.

        They are weighed only where phrases refuse or disclaim, or several sentences lecture.

        Raises:
            ValueError: the text holds a lone surrogate, or the scanner reads no stance.
        """
        if not self.reads_stance:
            raise ValueError("this scanner reads no stance; make one with stance=True")
        stance: str = self.scan([text]).column("stance")[0].as_py()
        reasons = self._scanner.stance_reasons(text)
        return StanceReasons(stance, dict(sorted(reasons, key=lambda reason: -abs(reason[1]))))

    def span_table(self, columns: dict[str, NDArray[Any]]) -> pa.RecordBatch:
        """Columns of spans, as the compiled scanner gives them, as `spans` does."""
        entry = columns["entry"].view(np.int32)
        document = columns["document"]
        signed = np.int32 if document.itemsize == 4 else np.int64
        kinds = pa.DictionaryArray.from_arrays(column(self._kind_of_entry[entry]), self._all_kinds)
        return pa.RecordBatch.from_pydict(
            {
                "document": column(document.view(signed)),
                "kind": kinds,
                "entry": pa.DictionaryArray.from_arrays(column(entry), self._patterns),
                "start": column(columns["start"].view(np.int32)),
                "end": column(columns["end"].view(np.int32)),
                "sentence": column(columns["sentence"].view(np.int32)),
            }
        )

    def dump(
        self,
        path: Path,
        field: str | None,
        *,
        chat: bool = False,
        spans: bool = False,
        may_be_array: bool = False,
    ) -> _core.DumpScanner:
        """Scans a file of lines chunk by chunk; see `valueattr.hedging.dumps`."""
        return self._scanner.dump(path, field, chat, spans, may_be_array)


def count_table(columns: dict[str, NDArray[Any]]) -> pa.RecordBatch:
    """Columns of counts, as the compiled scanner gives them, as `HedgeScanner.scan` does."""
    arrays: dict[str, Any] = {}
    for name, values in columns.items():
        if name == "first_hedge":
            arrays[name] = column(values.astype(np.int32), present=values >= 0)
        elif name in ("hedge_only", "declines"):
            arrays[name] = column(values)
        elif name == "stance":
            arrays[name] = pa.DictionaryArray.from_arrays(column(values), strings(list(STANCES)))
        else:
            arrays[name] = column(values.view(np.int64 if values.itemsize == 8 else np.int32))
    return pa.RecordBatch.from_pydict(arrays)


def _read(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            raise LexiconError(f"{path}: expected a file of TOML, found a folder or a device")
        source = path.read_bytes()
    except OSError as error:
        raise LexiconError(f"{path}: {error.strerror}") from error
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        raise LexiconError(
            f"{path}: line {line}: expected UTF-8, found byte {error.object[error.start]:#04x}"
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
