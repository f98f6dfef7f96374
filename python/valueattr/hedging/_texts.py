"""The texts in a column of a file of rows: .parquet and .arrow, .csv and .tsv."""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from valueattr.hedging._columns import column, strings
from valueattr.hedging._inputs import COMPRESSED, SEPARATED, DumpError, shown, suffix

_ROWS_AT_ONCE = 8_192
_CHARACTERS_AT_ONCE = 16 << 20
_LONGEST_CELL = 256 << 20
# An index of more digits is beyond the end of every list.
_MOST_DIGITS = 9

BadRows = list[tuple[int, str]]


class ChatFieldError(DumpError):
    """The field holds lists, as of chat messages, and not texts."""


@dataclass(frozen=True)
class TextRows:
    """Some texts of a file (large strings, none null), their rows, the rows without a text, and what was read so far."""

    texts: pa.Array
    rows: NDArray[np.int64]
    bad: BadRows
    bytes_read: int

    def decodable(self, field: str) -> "TextRows":
        """These rows, less those that are not UTF-8, which Parquet does not look at."""
        texts, keep, bad = self.texts.cast(pa.large_binary()).to_pylist(), [], []
        for at, text in enumerate(texts):
            try:
                text.decode()
                keep.append(at)
            except UnicodeDecodeError as error:
                bad.append((int(self.rows[at]), _no_utf8(field, text[error.start])))
        kept = np.array(keep, np.int64)
        return TextRows(
            self.texts.take(column(kept)), self.rows[kept], sorted(self.bad + bad), self.bytes_read
        )


def texts_of_table(file: Path, field: str, *, chat: bool) -> Iterator[TextRows]:
    """The texts of a .parquet, .arrow, .csv or .tsv file, some at a time; its rows are counted from 0.

    Raises:
        DumpError: there is no such field, or it holds something else, or a line is no CSV.
        ChatFieldError: the field holds lists of messages.
        OSError, pyarrow.ArrowException: the file cannot be read to its end.
    """
    if suffix(file) in SEPARATED:
        if chat:
            raise DumpError(f"{shown(file)}: a file of separated values holds no chats")
        yield from _separated(file, field)
        return
    first_row, size = 0, file.stat().st_size
    for batch, share in _batches(file, field.split(".")[0]):
        texts, bad = _texts(batch, field, chat, shown(file))
        there = pc.is_valid(texts)
        rows = np.arange(first_row, first_row + len(texts))
        if texts.null_count:
            rows = rows[there.to_numpy(zero_copy_only=False)]
        listed = [(first_row + at, message) for at, message in bad]
        first_row += len(batch)
        yield TextRows(texts.filter(there), rows, listed, int(size * share))


def _batches(file: Path, column: str) -> Iterator[tuple[pa.RecordBatch, float]]:
    """Record batches with the one column, and what share of the file has been read with each."""
    if suffix(file) == ".parquet":
        table = pq.ParquetFile(pa.OSFile(os.fsencode(file)))
        _place(table.schema_arrow.names, column, file)
        read = 0
        for batch in table.iter_batches(_ROWS_AT_ONCE, columns=[column]):
            read += len(batch)
            yield batch, read / table.metadata.num_rows
        return
    source = pa.memory_map(os.fsencode(file))
    if source.read(6) == b"ARROW1":
        reader = pa.ipc.open_file(source)
        place, number = _place(reader.schema.names, column, file), reader.num_record_batches
        batches = ((reader.get_batch(i), (i + 1) / number) for i in range(number))
    else:
        source.seek(0)
        stream = pa.ipc.open_stream(source)
        place, size = _place(stream.schema.names, column, file), max(source.size(), 1)
        batches = ((batch, source.tell() / size) for batch in stream)
    first_row = 0
    for batch, share in batches:
        batch = pa.RecordBatch.from_arrays([batch.column(place)], [column])
        _validate(batch, first_row, file)
        first_row += len(batch)
        yield batch, share


def _validate(batch: pa.RecordBatch, first_row: int, file: Path) -> None:
    """Arrow's files hold buffers as they lie in memory, which nobody has looked at."""
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        # A row of a nested column cannot be looked at without the others.
        for row in range(0 if pa.types.is_nested(batch.schema.types[0]) else len(batch)):
            try:
                batch.slice(row, 1).validate(full=True)
            except pa.ArrowInvalid as of_row:
                raise DumpError(f"{shown(file)}: row {first_row + row}: {of_row}") from None
        raise DumpError(f"{shown(file)}: from row {first_row} on: {error}") from None


def _place(names: Sequence[str], name: str, file: Path) -> int:
    """The place of the one column of that name."""
    if names.count(name) != 1:
        number = "several columns" if name in names else "no column"
        listed = ", ".join(name if name.isprintable() else repr(name) for name in names) or "none"
        raise DumpError(f"{shown(file)}: there is {number} {name!r}; it has {listed}")
    return names.index(name)


def _texts(batch: pa.RecordBatch, field: str, chat: bool, file: str) -> tuple[pa.Array, BadRows]:
    """The texts of a batch, null where there is none, and why there is none."""
    values = batch.column(0)
    for step in field.split(".")[1:]:
        values = _step(values, step, field, file)
    if pa.types.is_dictionary(values.type):
        known = values.dictionary.cast(pa.large_string()) if _is_text(values.type) else values.dictionary
        values = pa.DictionaryArray.from_arrays(values.indices, known).dictionary_decode()
    if chat:
        if not _is_chat(values.type):
            raise DumpError(f"{file}: {field}: expected lists of chat messages, found {values.type}")
        return _said(values, field)
    if not _is_text(values.type):
        message = f"{file}: {field}: expected texts, found {values.type}"
        if _is_list(values.type):
            raise ChatFieldError(f"{message}; lists of chat messages have to be scanned as chats")
        raise DumpError(message)
    nulls = pc.indices_nonzero(pc.is_null(values)).to_pylist()
    return values.cast(pa.large_string()), [(row, f"{field}: expected a text, found null") for row in nulls]


def _step(values: Any, step: str, field: str, file: str) -> Any:
    if pa.types.is_struct(values.type):
        if step not in [part.name for part in values.type]:
            raise DumpError(f"{file}: {field}: there is no such field")
        return pc.struct_field(values, step)
    is_index = step == "0" or (step.isascii() and step.isdigit() and step[0] != "0")
    if is_index and (pa.types.is_list(values.type) or pa.types.is_large_list(values.type)):
        if len(step) > _MOST_DIGITS:
            return pa.nulls(len(values))
        long = pc.greater(pc.list_value_length(values), int(step))
        found = pc.list_element(values.filter(long), int(step))
        # Shorter lists have no such element: null.
        at = pc.subtract(pc.cumulative_sum(pc.cast(pc.fill_null(long, False), pa.int64())), 1)
        return found.take(pc.if_else(pc.fill_null(long, False), at, None))
    raise DumpError(f"{file}: {field}: there is no such field in {values.type}")


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    return any(is_kind(kind) for is_kind in kinds)


def _is_list(kind: Any) -> bool:
    kinds = (
        pa.types.is_list,
        pa.types.is_large_list,
        pa.types.is_fixed_size_list,
        pa.types.is_list_view,
        pa.types.is_large_list_view,
    )
    return any(is_kind(kind) for is_kind in kinds)


def _is_chat(kind: Any) -> bool:
    """Whether these are lists of messages with a role, and a content that is a text or a list of parts."""
    if pa.types.is_null(kind):
        return True
    message = kind.value_type if _is_list(kind) else None
    if message is None or not pa.types.is_struct(message):
        return False
    parts = {part.name: part.type for part in message}
    if "role" not in parts or not _is_text(parts["role"]):
        return False
    content = parts.get("content", pa.null())
    return _is_text(content) or (_is_list(content) and _is_part(content.value_type))


def _is_part(kind: Any) -> bool:
    return pa.types.is_struct(kind) and all(_is_text(part.type) for part in kind if part.name == "text")


def _said(chats: pa.Array, field: str) -> tuple[pa.Array, BadRows]:
    """What the assistant says in each chat, null where there is none."""
    said: list[str | None] = []
    bad = []
    for row, messages in enumerate(chats):
        try:
            said.append(_turns(messages.as_py()))
        except UnicodeDecodeError as error:
            said.append(None)
            bad.append((row, _no_utf8(field, error.object[error.start])))
        else:
            if said[-1] is None:
                bad.append((row, f"{field}: expected chat messages, found null"))
    return pa.array(said, pa.large_string()), bad


def _turns(messages: Any) -> str | None:
    """What the assistant says in a list of chat messages, or None where one of them is null."""
    if messages is None or any(message is None or message["role"] is None for message in messages):
        return None
    said: list[str] = []
    for message in messages:
        if message["role"] == "assistant":
            content = message.get("content") or []
            parts = [content] if isinstance(content, str) else [part.get("text") for part in content if part]
            said += [part for part in parts if part]
    return "\n\n".join(said)


def _separated(file: Path, field: str) -> Iterator[TextRows]:
    """The column `field` of a file of separated values, in quotation marks where they hold lines or separators."""
    source = pa.OSFile(os.fsencode(file))
    compression = COMPRESSED.get(file.suffix.lower())
    stream = pa.CompressedInputStream(source, compression) if compression else source
    # What is not UTF-8 is told by row.
    lines = io.TextIOWrapper(
        io.BufferedReader(stream), encoding="utf-8-sig", errors="surrogateescape", newline=""
    )
    reader = csv.reader(lines, delimiter=SEPARATED[suffix(file)], strict=True)
    texts: list[str] = []
    rows: list[int] = []
    bad: BadRows = []
    size = 0
    limit = csv.field_size_limit(_LONGEST_CELL)  # of the whole process; at first 128 KiB
    try:
        names = next(reader, [])
        place = _place(names, field, file)
        for row, values in enumerate(values for values in reader if values):
            if len(values) != len(names):
                bad.append((row, f"expected {len(names)} values, found {len(values)}"))
            elif (wrong := _undecodable(values[place])) is not None:
                bad.append((row, _no_utf8(field, wrong)))
            else:
                texts.append(values[place])
                rows.append(row)
                size += len(values[place])
            if len(texts) + len(bad) >= _ROWS_AT_ONCE or size >= _CHARACTERS_AT_ONCE:
                yield _rows_of(texts, rows, bad, source.tell())
                texts, rows, bad, size = [], [], [], 0
    except csv.Error as error:
        raise DumpError(f"{shown(file)}: line {reader.line_num}: no CSV: {error}") from None
    finally:
        csv.field_size_limit(limit)
    yield _rows_of(texts, rows, bad, source.tell())


def _rows_of(texts: list[str], rows: list[int], bad: BadRows, read: int) -> TextRows:
    return TextRows(strings(texts).cast(pa.large_string()), np.array(rows, np.int64), bad, read)


def _undecodable(text: str) -> int | None:
    """The first byte of a text that was not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return ord(text[error.start]) - 0xDC00
    return None


def _no_utf8(field: str, byte: int) -> str:
    return f"{field}: expected UTF-8, found byte {byte:#04x}"
