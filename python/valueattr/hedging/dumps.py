"""Scans dumps of generations on disk for hedging phrases, however large they are.

    >>> summary = scan_dump([Path("dump.jsonl.zst")], field="choices.0.message.content", out=Path("hedges.parquet"))

Lines (.jsonl, .json, .txt, also .gz and .zst, and standard input) are read, decompressed and scanned in compiled code,
.parquet and .arrow files with pyarrow; memory does not grow with the input. Output is written beside its place and moved
there when it is whole, so that what is interrupted never looks complete.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq

from valueattr.hedging import HedgeScanner, count_table
from valueattr.hedging._columns import column, strings

STANDARD_INPUT = Path("-")
_LINES = (".jsonl", ".json", ".ndjson", ".txt")
_COMPRESSED = (".gz", ".zst")
_TABLES = (".parquet", ".arrow")
_ROWS_AT_ONCE = 8_192
_MOST_LISTED = 20

Progress = Callable[[int, int], None]
"""Called with bytes read and documents scanned so far."""


class DumpError(ValueError):
    """An input that cannot be scanned; the message names the file, the row and what to do."""


class BadRowError(DumpError):
    """A row without a text, in a scan that does not skip such rows."""


class ChatFieldError(DumpError):
    """The field holds lists, as of chat messages, and not texts."""


@dataclass
class DumpSummary:
    """What a scan found.

    kinds: phrases of each kind. with_kind: documents with at least one.
    skipped: rows without a text, counted; listed: the first of them, each with file, row and reason.
    """

    documents: int = 0
    words: int = 0
    hedge_only: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    with_kind: dict[str, int] = field(default_factory=dict)
    skipped: int = 0
    listed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Part:
    """Rows of a file: their counts with the column `row`, their spans with the row as `document`, and bad rows."""

    counts: pa.RecordBatch
    spans: pa.RecordBatch | None
    bad: list[tuple[int, str]]
    bytes_read: int


def scan_dump(
    inputs: Sequence[Path],
    *,
    field: str = "response",
    scanner: HedgeScanner | None = None,
    chat: bool = False,
    out: Path | None = None,
    spans: bool = False,
    on_error: Literal["skip", "fail"] = "fail",
    progress: Progress | None = None,
) -> DumpSummary:
    """Scan files and the files of folders, in order of name.

    inputs: .jsonl, .txt (one text a line), both also .gz or .zst; .parquet; .arrow; folders of these; `-` is JSON lines
        from standard input.
    field: the field that holds the text, or a dotted path to it ("choices.0.message.content").
    chat: the field holds a list of messages with `role` and `content`; the assistant's are scanned, as paragraphs.
    out: a .parquet file of one row per document: `source`, `row` (from 0; lines, or rows of a table), then the columns
        of `HedgeScanner.scan`. With `spans` a folder, made anew, of counts.parquet and spans.parquet (`source`,
        `document`, the row, and the columns of `HedgeScanner.spans`).
    on_error: whether a row without a text (malformed, missing, null, no string) ends the scan or is counted and skipped.

    Raises:
        BadRowError: an input holds a row without a text. ChatFieldError: the field holds lists of messages.
        DumpError: an input is missing, of no known format, or cannot be read to its end. No output remains.
        FileExistsError: `out` exists.
    """
    scanner = scanner or HedgeScanner()
    files = dump_files(inputs)
    summary = DumpSummary(kinds=dict.fromkeys(scanner.kinds, 0), with_kind=dict.fromkeys(scanner.kinds, 0))
    with _Output(out, spans) if out else contextlib.nullcontext() as output:
        if output:
            output.write("", _no_rows(scanner))  # so that the tables are there whatever the inputs hold
        read_before = 0
        for file in files:
            read = 0
            for part in _parts(file, scanner, field, chat, spans):
                read = part.bytes_read
                _note_bad(summary, file, part.bad, on_error)
                _add(summary, part.counts)
                if output:
                    output.write(str(file), part)
                if progress:
                    progress(read_before + read, summary.documents)
            read_before += read
    return summary


def dump_bytes(inputs: Sequence[Path]) -> int:
    """Size of what `scan_dump` would read, 0 for standard input.

    Raises:
        DumpError: as `scan_dump`.
    """
    return sum(0 if file == STANDARD_INPUT else file.stat().st_size for file in dump_files(inputs))


def dump_files(inputs: Sequence[Path]) -> list[Path]:
    """The files that `scan_dump` would read, in its order: those named, and those of folders.

    Raises:
        DumpError: an input is not there or of no known format, or a folder holds no dump.
    """
    files: list[Path] = []
    for path in inputs:
        if path == STANDARD_INPUT:
            files.append(path)
        elif path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and _suffix(p))
            if not inside:
                raise DumpError(f"{path}: no file in it is a dump; known: {_known()}")
            files += inside
        elif not path.exists():
            raise DumpError(f"{path}: there is no such file")
        elif not _suffix(path):
            raise DumpError(f"{path}: of no known format; known: {_known()}")
        else:
            files.append(path)
    return files


def _known() -> str:
    return ", ".join((*_LINES, *_TABLES)) + "; lines also " + " and ".join(_COMPRESSED)


def _suffix(path: Path) -> str:
    """What a file's name says of its format, less compression; "" if it is none of ours."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED and suffixes[-2:-1] and suffixes[-2] in _LINES:
        return suffixes[-2]
    return suffixes[-1] if suffixes and suffixes[-1] in (*_LINES, *_TABLES) else ""


def _parts(file: Path, scanner: HedgeScanner, field: str, chat: bool, spans: bool) -> Iterator[_Part]:
    suffix = ".jsonl" if file == STANDARD_INPUT else _suffix(file)
    parts = _table_parts if suffix in _TABLES else _line_parts
    try:
        yield from parts(file, scanner, None if suffix == ".txt" else field, chat, spans)
    except (OSError, pa.ArrowInvalid) as error:
        raise DumpError(f"{file}: cannot be read to its end: {error}") from None


def _line_parts(
    file: Path, scanner: HedgeScanner, field: str | None, chat: bool, spans: bool
) -> Iterator[_Part]:
    dump = scanner.dump(file, field, chat=chat and field is not None, spans=spans)
    for counts, found, bad in dump:
        table = None if found is None else scanner.span_table(found)
        yield _Part(count_table(counts), table, bad, dump.bytes_read())


def _table_parts(
    file: Path, scanner: HedgeScanner, field: str | None, chat: bool, spans: bool
) -> Iterator[_Part]:
    assert field is not None
    size, first_row = file.stat().st_size, 0
    batches, rows = _batches(file, field.split(".")[0])
    for batch in batches:
        texts, bad = _texts(batch, field, chat, file)
        there = pc.is_valid(texts)
        row = column(np.arange(first_row, first_row + len(texts))).filter(there)
        texts = texts.filter(there)
        counts = scanner.scan(texts).append_column("row", row)
        found = None
        if spans:
            found = scanner.spans(texts)
            document = row.take(found.column("document"))
            found = found.set_column(0, "document", document)
        listed = [(first_row + at, message) for at, message in bad]
        first_row += len(batch)
        yield _Part(counts, found, listed, size * first_row // max(rows, 1))


def _batches(file: Path, column: str) -> tuple[Iterator[pa.RecordBatch], int]:
    """Record batches with the one column, and how many rows there are in all."""

    def require(names: list[str]) -> None:
        if column not in names:
            raise DumpError(f"{file}: there is no column {column!r}; it has {', '.join(names)}")

    if _suffix(file) == ".parquet":
        table = pq.ParquetFile(file)
        require(table.schema_arrow.names)
        return table.iter_batches(_ROWS_AT_ONCE, columns=[column]), table.metadata.num_rows
    source = pa.memory_map(str(file))
    if source.read(6) == b"ARROW1":
        reader = pa.ipc.open_file(file)
        require(reader.schema.names)
        groups = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        return (group.select([column]) for group in groups), sum(map(len, groups))
    source.seek(0)
    stream = pa.ipc.open_stream(source)
    require(stream.schema.names)
    return (batch.select([column]) for batch in stream), 0


def _texts(
    batch: pa.RecordBatch, field: str, chat: bool, file: Path
) -> tuple[pa.Array, list[tuple[int, str]]]:
    """The texts of a batch, null where there is none, and why there is none."""
    values = batch.column(0)
    for step in field.split(".")[1:]:
        values = _step(values, step, field, file)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if chat:
        values = pa.array([_turns(turns) for turns in values.to_pylist()], pa.large_string())
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    if not any(is_kind(values.type) for is_kind in kinds):
        message = f"{file}: {field}: expected texts, found {values.type}"
        if pa.types.is_list(values.type):
            raise ChatFieldError(f"{message}; lists of chat messages have to be scanned as chats")
        raise DumpError(message)
    nulls = pc.indices_nonzero(pc.is_null(values)).to_pylist()
    return values, [(row, f"{field}: expected a text, found null") for row in nulls]


def _step(values: Any, step: str, field: str, file: Path) -> Any:
    if pa.types.is_struct(values.type):
        if step not in [part.name for part in values.type]:
            raise DumpError(f"{file}: {field}: there is no such field")
        return pc.struct_field(values, step)
    is_list = pa.types.is_list(values.type) or pa.types.is_large_list(values.type)
    if is_list and step.isdigit():
        long = pc.greater(pc.list_value_length(values), int(step))
        found = pc.list_element(values.filter(long), int(step))
        # Shorter lists have no such element: null.
        at = pc.subtract(pc.cumulative_sum(pc.cast(pc.fill_null(long, False), pa.int64())), 1)
        return found.take(pc.if_else(pc.fill_null(long, False), at, None))
    raise DumpError(f"{file}: {field}: there is no such field")


def _turns(messages: Any) -> str | None:
    """What the assistant says in a list of chat messages."""
    if messages is None:
        return None
    said: list[str] = []
    for message in messages:
        if message.get("role") == "assistant":
            content = message.get("content") or []
            parts = [content] if isinstance(content, str) else [part.get("text") for part in content]
            said += [part for part in parts if part]
    return "\n\n".join(said)


def _no_rows(scanner: HedgeScanner) -> _Part:
    rows = column(np.zeros(0, np.int64))
    spans = scanner.spans([]).set_column(0, "document", rows)
    return _Part(scanner.scan([]).append_column("row", rows), spans, [], 0)


def _note_bad(
    summary: DumpSummary, file: Path, bad: list[tuple[int, str]], on_error: Literal["skip", "fail"]
) -> None:
    for row, message in bad:
        where = f"{file}: {'row' if _suffix(file) in _TABLES else 'line'}"
        number = row if _suffix(file) in _TABLES else row + 1
        if on_error == "fail":
            raise BadRowError(f"{where} {number}: {message}; such rows can be skipped")
        summary.skipped += 1
        if len(summary.listed) < _MOST_LISTED:
            summary.listed.append(f"{where} {number}: {message}")


def _add(summary: DumpSummary, counts: pa.RecordBatch) -> None:
    summary.documents += len(counts)
    summary.words += pc.sum(counts.column("words")).as_py() or 0
    summary.hedge_only += pc.sum(counts.column("hedge_only")).as_py() or 0
    for kind in summary.kinds:
        found = counts.column(kind)
        summary.kinds[kind] += pc.sum(found).as_py() or 0
        summary.with_kind[kind] += pc.sum(pc.cast(found, pa.bool_())).as_py() or 0


class _Output:
    """Parquet tables that are moved to their place when they are whole."""

    def __init__(self, out: Path, spans: bool) -> None:
        if out.exists():
            raise FileExistsError(f"{out} exists; remove it, or write to another place")
        self._out, self._as_folder = out, spans
        self._partial = out.with_name(out.name + ".partial")
        self._writers: dict[str, pq.ParquetWriter] = {}

    def __enter__(self) -> Self:
        self._remove_partial()
        self._out.parent.mkdir(parents=True, exist_ok=True)
        if self._as_folder:
            self._partial.mkdir()
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
        if name not in self._writers:
            path = self._partial / f"{name}.parquet" if self._as_folder else self._partial
            self._writers[name] = pq.ParquetWriter(path, table.schema, compression="zstd")
        self._writers[name].write_table(table)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers.values():
            writer.close()
        if error is None:
            self._partial.rename(self._out)
        else:
            self._remove_partial()

    def _remove_partial(self) -> None:
        if self._partial.is_dir():
            shutil.rmtree(self._partial)
        else:
            self._partial.unlink(missing_ok=True)
