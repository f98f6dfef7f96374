"""Scans dumps of generations on disk for hedging phrases, however large they are.

    >>> summary = scan_dump([Path("dump.jsonl.zst")], field="choices.0.message.content", out=Path("hedges.parquet"))

Lines (.jsonl, .json, .txt, also .gz and .zst, and standard input) are read, decompressed and scanned in compiled code,
.parquet, .arrow, .csv and .tsv files row by row or with pyarrow; memory does not grow with the input. Output is written
beside its place and moved there when it is whole, so that what is interrupted never looks complete.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from valueattr.hedging import STANCES, HedgeScanner, count_table
from valueattr.hedging._columns import column, strings
from valueattr.hedging._inputs import (
    LINES,
    STANDARD_INPUT,
    DumpError,
    FolderError,
    find_inputs,
    shown,
    suffix,
)
from valueattr.hedging._texts import BadRows, ChatFieldError, texts_of_table
from valueattr.outputs import new_output
from valueattr.tables import without_formulas

__all__ = [
    "STANDARD_INPUT",
    "BadRowError",
    "ChatFieldError",
    "DumpError",
    "DumpSummary",
    "FolderError",
    "Progress",
    "dump_bytes",
    "scan_dump",
]

_MOST_LISTED = 20

Progress = Callable[[int, int], None]
"""Called with bytes read and documents scanned so far."""


class BadRowError(DumpError):
    """A row without a text, in a scan that does not skip such rows."""


@dataclass
class DumpSummary:
    """What a scan found.

    kinds: phrases of each kind. with_kind: documents with at least one. stances: documents with
    each stance, if the scanner reads stances.
    files: those that were read, in order. left_out: those of the inputs that were not read, each with the reason.
    skipped: rows without a text, counted; listed: the first of them, each with file, row and reason.
    """

    documents: int = 0
    words: int = 0
    hedge_only: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    with_kind: dict[str, int] = field(default_factory=dict)
    stances: dict[str, int] = field(default_factory=dict)
    skipped: int = 0
    listed: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Part:
    """Rows of a file: their counts with the column `row`, their spans with the row as `document`, and bad rows."""

    counts: pa.RecordBatch
    spans: pa.RecordBatch | None
    bad: BadRows
    bytes_read: int
    unit: Literal["line", "item", "row"] = "row"


def scan_dump(
    inputs: Sequence[Path],
    *,
    field: str = "response",
    scanner: HedgeScanner | None = None,
    chat: bool = False,
    out: Path | None = None,
    spans: bool = False,
    exclude: Sequence[str] = (),
    overwrite: bool = False,
    on_error: Literal["skip", "fail"] = "fail",
    progress: Progress | None = None,
) -> DumpSummary:
    """Scan files and the files of folders, in order of name.

    inputs: .jsonl, .json (lines, or one array), .txt (one text a line), .csv, .tsv, all also .gz or .zst; .parquet;
        .arrow; folders that hold one of these formats; `-` is JSON lines from standard input.
    field: the field that holds the text, or a dotted path to it ("choices.0.message.content").
    chat: the field holds a list of messages with `role` and `content`; the assistant's are scanned, as paragraphs.
    out: a .parquet or .csv file of one row per document: `source`, `row` (from 0; lines, or rows of a table), then the
        columns of `HedgeScanner.scan`. With `spans` a folder of counts.parquet and spans.parquet (`source`,
        `document`, the row, and the columns of `HedgeScanner.spans`).
    exclude: patterns such as "*.txt" of files and folders that are left out, by their name or their path in the folder.
    overwrite: whether what is at `out` is replaced; never an input.
    on_error: whether a row without a text (malformed, missing, null, no string) ends the scan or is counted and skipped.

    Raises:
        BadRowError: an input holds a row without a text. ChatFieldError: the field holds lists of messages.
        FolderError: a folder holds several formats, or cannot be read in whole.
        DumpError: an input is missing, holds no dump, or cannot be read to its end; or `out` has a name of another
            format. No output remains.
        valueattr.outputs.OutputError: `out` exists, is an input, or cannot be written.
    """
    scanner = scanner or HedgeScanner()
    steps = _encodable(field)
    found = find_inputs(inputs, exclude)
    summary = DumpSummary(
        kinds=dict.fromkeys(scanner.kinds, 0),
        with_kind=dict.fromkeys(scanner.kinds, 0),
        stances=dict.fromkeys(STANCES if scanner.reads_stance else (), 0),
    )
    summary.files, summary.left_out = [shown(file) for file in found.files], found.left_out
    with ExitStack() as closing:
        output = closing.enter_context(_Output(out, found.files, spans, overwrite)) if out else None
        if output:
            output.write("", _no_rows(scanner))  # so that the tables are there whatever the inputs hold
        read_before = 0
        for file in found.files:
            read = 0
            for part in _parts(file, scanner, steps, chat, spans):
                read = part.bytes_read
                _note_bad(summary, file, part, on_error)
                _add(summary, part.counts)
                if output:
                    output.write(shown(file), part)
                if progress:
                    progress(read_before + read, summary.documents)
            read_before += read
    return summary


def dump_bytes(inputs: Sequence[Path], exclude: Sequence[str] = ()) -> int:
    """Size of what `scan_dump` would read, 0 for standard input.

    Raises:
        DumpError: as `scan_dump`.
    """
    files = find_inputs(inputs, exclude).files
    return sum(0 if file == STANDARD_INPUT else file.stat().st_size for file in files)


def _encodable(field: str) -> str:
    try:
        field.encode()
    except UnicodeEncodeError:
        raise DumpError(f"the name of the field {field!r} is not UTF-8") from None
    return field


def _parts(file: Path, scanner: HedgeScanner, field: str, chat: bool, spans: bool) -> Iterator[_Part]:
    kind = ".jsonl" if file == STANDARD_INPUT else suffix(file)
    parts = _line_parts if kind in LINES else _table_parts
    try:
        yield from parts(file, scanner, field, chat, spans)
    except UnicodeDecodeError:
        raise DumpError(f"{shown(file)}: the name of a column is not UTF-8") from None
    except (OSError, pa.ArrowException) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise DumpError(f"{shown(file)}: cannot be read to its end: {reason.splitlines()[0]}") from None


def _line_parts(file: Path, scanner: HedgeScanner, field: str, chat: bool, spans: bool) -> Iterator[_Part]:
    if suffix(file) == ".txt":
        dump = scanner.dump(file, None, spans=spans)
    else:
        dump = scanner.dump(file, field, chat=chat, spans=spans, may_be_array=suffix(file) == ".json")
    unit: Literal["line", "item"] = "item" if dump.is_array() else "line"
    for counts, found, bad in dump:
        table = None if found is None else scanner.span_table(found)
        yield _Part(count_table(counts), table, bad, dump.bytes_read(), unit)


def _table_parts(file: Path, scanner: HedgeScanner, field: str, chat: bool, spans: bool) -> Iterator[_Part]:
    for part in texts_of_table(file, field, chat=chat):
        try:
            counts = scanner.scan(part.texts)
        except ValueError:
            part = part.decodable(field)
            counts = scanner.scan(part.texts)
        row = column(part.rows)
        found = None
        if spans:
            found = scanner.spans(part.texts)
            found = found.set_column(0, "document", row.take(found.column("document")))
        yield _Part(counts.append_column("row", row), found, part.bad, part.bytes_read)


def _no_rows(scanner: HedgeScanner) -> _Part:
    rows = column(np.zeros(0, np.int64))
    spans = scanner.spans([]).set_column(0, "document", rows)
    return _Part(scanner.scan([]).append_column("row", rows), spans, [], 0)


def _note_bad(summary: DumpSummary, file: Path, part: _Part, on_error: Literal["skip", "fail"]) -> None:
    for row, message in part.bad:
        number = row if part.unit == "row" else row + 1
        where = f"{shown(file)}: {part.unit} {number}"
        if on_error == "fail":
            raise BadRowError(f"{where}: {message}; such rows can be skipped")
        summary.skipped += 1
        if len(summary.listed) < _MOST_LISTED:
            summary.listed.append(f"{where}: {message}")


def _add(summary: DumpSummary, counts: pa.RecordBatch) -> None:
    summary.documents += len(counts)
    summary.words += pc.sum(counts.column("words")).as_py() or 0
    summary.hedge_only += pc.sum(counts.column("hedge_only")).as_py() or 0
    for kind in summary.kinds:
        found = counts.column(kind)
        summary.kinds[kind] += pc.sum(found).as_py() or 0
        summary.with_kind[kind] += pc.sum(pc.cast(found, pa.bool_())).as_py() or 0
    for stance in summary.stances:
        summary.stances[stance] += pc.sum(pc.equal(counts.column("stance"), stance)).as_py() or 0


class _Output:
    """Tables that are moved to their place when they are whole."""

    def __init__(self, out: Path, inputs: Sequence[Path], spans: bool, overwrite: bool) -> None:
        kind = out.suffix.lower()
        if spans and kind in (".parquet", ".csv"):
            raise DumpError(f"{shown(out)}: with spans the output is a folder; give it a name without {kind}")
        if not spans and kind not in (".parquet", ".csv"):
            raise DumpError(f"{shown(out)}: expected a name that ends in .parquet or .csv")
        self._as_folder, self._as_csv = spans, kind == ".csv"
        self._place = new_output(out, inputs=inputs, overwrite=overwrite)
        self._closing = ExitStack()
        self._writers: dict[str, pq.ParquetWriter | pa.csv.CSVWriter] = {}

    def __enter__(self) -> Self:
        self._path = self._closing.enter_context(self._place)
        if self._as_folder:
            self._path.mkdir()
        return self

    def write(self, source: str, part: _Part) -> None:
        self._append("counts", source, "row", part.counts)
        if self._as_folder and part.spans is not None:
            self._append("spans", source, "document", part.spans)

    def _append(self, name: str, source: str, row: str, batch: pa.RecordBatch) -> None:
        names = pa.DictionaryArray.from_arrays(column(np.zeros(len(batch), np.int32)), strings([source]))
        columns = {"source": names, row: batch.column(row)}
        columns |= {other: batch.column(other) for other in batch.schema.names if other != row}
        table = pa.Table.from_pydict(columns)
        if self._as_csv:
            table = without_formulas(table)
        if name not in self._writers:
            path = self._path / f"{name}.parquet" if self._as_folder else self._path
            file = self._closing.enter_context(pa.OSFile(os.fsencode(path), "wb"))
            writer = (
                pa.csv.CSVWriter(file, table.schema)
                if self._as_csv
                else pq.ParquetWriter(file, table.schema, compression="zstd")
            )
            self._writers[name] = self._closing.enter_context(writer)
        self._writers[name].write_table(table)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.__exit__(kind, error, trace)
