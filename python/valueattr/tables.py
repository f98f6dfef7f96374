"""Files of rows, read in one place: JSON lines, CSV, Parquet, Arrow, or plain lines of text; and CSV that people open.

Rows that people write by hand come with their line numbers (`read_rows`, `read_json_lines`), so that errors can name
the line. Tables of any size come by columns (`read_table`, `read_texts`). What a spreadsheet program saved is taken as it
comes (`read_spreadsheet`), and what it would take for a formula is written as text (`write_csv`, `without_formulas`).

Files of text may end in .gz or .zst. A line of them ends in a line feed, perhaps after a carriage return, and in nothing
else, as in a scan; in CSV a carriage return alone ends one too.
"""

import csv
import io
import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet

if TYPE_CHECKING:
    import pandas as pd

# Looked for in this order.
TEXT_COLUMNS = ("text", "statement", "response", "completion", "prompt")

_BY_LINE = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}

_FORMULA = r"^('*[=+\-@\t\r])"
_AS_TEXT = r"'\1"

# Levels of objects and lists in one line, far below what a parser's stack holds.
_DEEPEST = 128

# Characters of a CSV cell, as for a scan.
_LONGEST_CELL = 256 << 20

# The escape of half a UTF-16 pair, which may be followed by its other half.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

_SEPARATORS = (",", ";", "\t")


class TableError(ValueError):
    """A file of rows that cannot be read. The message names the file, the line or column, and what was expected."""


def read_rows(path: str | Path) -> list[tuple[int, dict[str, Any]]]:
    """The rows of a file, each with the number of its (last) line, or its place in an array.

    The file is .jsonl, .ndjson, .csv, .tsv, or .json, which may also be an array of objects. Blank lines are left out.
    Values of a CSV file are texts, and None where a line is too short.

    Raises:
        TableError: the file is not there, cannot be read, is not UTF-8 or has another format; a line is not a JSON object,
            or has more cells than there are columns; two columns have one name.
    """
    path = Path(path)
    match _format(path):
        case ".jsonl" | ".ndjson":
            return read_json_lines(path)
        case ".json":
            return _read_json(path)
        case ".csv":
            return _csv_rows(path, ",")
        case ".tsv":
            return _csv_rows(path, "\t")
    raise TableError(f"{path}: expected a .csv or .jsonl file")


def read_json_lines(path: str | Path) -> list[tuple[int, dict[str, Any]]]:
    """The JSON objects of a file with one a line, whatever its name, each with the number of its line.

    Raises:
        TableError: the file is not there, cannot be read or is not UTF-8, or a line is not a JSON object.
    """
    path = Path(path)
    return [
        (number, _json_object(line, f"{path}, line {number}"))
        for number, line in enumerate(_lines(_text(path)), start=1)
        if line.strip()
    ]


def read_json(path: str | Path) -> Any:
    """The one JSON value of a file.

    Raises:
        TableError: the file is not there, cannot be read, is not UTF-8 or is not JSON.
    """
    path = Path(path)
    return _json(_text(path), str(path))


def read_records(path: str | Path) -> list[tuple[int, dict[str, Any]]]:
    """The rows of a file of any format, numbered as by `read_rows`, or from 1 where there are no lines.

    A line of a .txt file is the field `text`.

    Raises:
        TableError: as for `read_rows` and `read_table`.
    """
    path = Path(path)
    if _format(path) in _BY_LINE:
        return read_rows(path)
    return list(enumerate(read_table(path).to_pylist(), start=1))


def read_table(path: str | Path) -> pa.Table:
    """All columns of a .jsonl, .csv, .parquet, .arrow or .txt file; the last has one column, `text`, with its lines.

    A blank cell of a CSV file is null.

    Raises:
        TableError: the file is not there, cannot be read, is not UTF-8 or has another format; a line of it is broken; it
            has no columns, or two of one name.
    """
    path = Path(path)
    match _format(path):
        case ".jsonl" | ".ndjson" | ".json":
            table = _by_column(path, read_rows(path))
        case ".csv":
            table = _csv_table(path, ",")
        case ".tsv":
            table = _csv_table(path, "\t")
        case ".parquet" | ".arrow":
            table = _arrow_table(path)
        case ".txt":
            table = pa.table({"text": pa.array(_lines(_text(path)), pa.string())})
        case _:
            raise TableError(f"{path}: expected a .jsonl, .csv, .parquet or .txt file")
    if not table.column_names:
        raise TableError(f"{path}: holds no rows")
    return table


def read_texts(path: str | Path, field: str | None = None) -> tuple[list[str], pa.Table]:
    """The texts of a .jsonl, .csv, .parquet or .txt file, and a table of its other columns.

    field: the column that holds the text; by default the first of `TEXT_COLUMNS` that there is.

    Raises:
        TableError: as for `read_table`, and where there is no row, no such column, or a row has a blank text or none.
    """
    path = Path(path)
    table = read_table(path)
    if not len(table):
        raise TableError(f"{path}: holds no rows")
    wanted = field or next((name for name in TEXT_COLUMNS if name in table.column_names), TEXT_COLUMNS[0])
    if wanted not in table.column_names:
        raise TableError(f"{path}: there is no column {wanted!r}; it has {', '.join(table.column_names)}")
    values = table[wanted]
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise TableError(f"{path}: column {wanted!r} holds {values.type}, expected texts")
    texts = values.to_pylist()
    for row, text in enumerate(texts, 1):
        if not (text and text.strip()):
            raise TableError(f"{path}, row {row}: `{wanted}` is {text!r}, expected a text")
    return texts, table.drop_columns([wanted])


def read_spreadsheet(path: str | Path, columns: Sequence[str]) -> "pd.DataFrame":
    """The cells of a CSV file that a spreadsheet program saved, as texts; the index `line` counts as the program does.

    The file may be UTF-8, UTF-16 with a byte-order mark, or else Windows-1252. Its cells are separated by the one of comma,
    semicolon and tab that splits the first line into most of `columns`, which must all be there, in any order and beside
    others. Blank lines and columns without a name are left out, and what `write_csv` put before a formula is taken off.

    Raises:
        TableError: the file is not there or cannot be read; a column is missing or there twice; a line has more cells than
            the first one; there are no rows.
    """
    import pandas as pd  # which a scan does without

    path = Path(path)
    text = _spreadsheet_text(path)
    header = io.StringIO(text, newline=None).readline().rstrip("\n")
    csv.field_size_limit(_LONGEST_CELL)  # of the process: its own limit is 128 KiB
    try:
        separator = max(
            _SEPARATORS, key=lambda mark: len({*columns}.intersection(*csv.reader([header], delimiter=mark)))
        )
        cells = pd.read_csv(
            io.StringIO(text),
            sep=separator,
            header=None,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
        )
    except pd.errors.EmptyDataError:
        raise TableError(f"{path}: the file is empty") from None
    except (csv.Error, pd.errors.ParserError) as error:
        raise TableError(f"{path}: not CSV: {str(error).strip()}") from None
    cells = cells.fillna("").map(_unescaped)
    cells.index = pd.RangeIndex(1, len(cells) + 1, name="line")
    names = cells.iloc[0].str.strip()
    rows = cells.iloc[1:].set_axis(names, axis=1).loc[:, (names != "").to_numpy()]
    _check_names(path, rows.columns)
    if missing := [name for name in columns if name not in rows.columns]:
        found = ", ".join(rows.columns) or "none"
        raise TableError(f"{path}, line 1: there is no column {', '.join(missing)}; found {found}")
    filled: pd.DataFrame = rows[(rows.apply(lambda column: column.str.strip()) != "").any(axis=1)]
    if filled.empty:
        raise TableError(f"{path}: there are no rows below the header")
    return filled


def write_csv(path: str | Path, table: pa.Table) -> None:
    """Write a table as CSV, without formulas: texts in quotation marks, nulls as nothing, in UTF-8.

    Columns hold texts, numbers, booleans, or times.
    """
    with Path(path).open("wb") as file:  # since Arrow takes no path that is not UTF-8
        pa.csv.write_csv(without_formulas(table), file)


def without_formulas(table: pa.Table) -> pa.Table:
    """The table with an apostrophe before each text, and each name of a column, that a spreadsheet would compute.

    These begin with =, +, -, @, a tab or a carriage return: https://owasp.org/www-community/attacks/CSV_Injection. A text
    that begins with apostrophes and one of these gets another one, so that `read_spreadsheet` can take it off.
    """
    columns = []
    for column in table.columns:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        columns.append(pc.replace_substring_regex(column, _FORMULA, _AS_TEXT) if is_text else column)
    names = [re.sub(_FORMULA, _AS_TEXT, name) for name in table.column_names]
    return pa.Table.from_arrays(columns, names)


def _format(path: Path) -> str:
    """What a file's name says of its format, in lower case and less compression."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _read_json(path: Path) -> list[tuple[int, dict[str, Any]]]:
    text = _text(path)
    if not text.lstrip().startswith("["):
        return read_json_lines(path)
    rows = _json(text, str(path))
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise TableError(f"{path}, row {number}: expected a JSON object, found {type(row).__name__}")
    return list(enumerate(rows, start=1))


def _json_object(line: str, where: str) -> dict[str, Any]:
    row = _json(line, where)
    if not isinstance(row, dict):
        raise TableError(f"{where}: expected a JSON object, found {type(row).__name__}")
    return row


def _json(text: str, where: str) -> Any:
    too_deep = f"{where}: nested deeper than {_DEEPEST} levels"
    try:
        value = _JSON.decode(text)
    except RecursionError:
        raise TableError(too_deep) from None
    except ValueError as error:
        raise TableError(f"{where}: not JSON: {error}") from None
    if text.count("{") + text.count("[") > _DEEPEST and _is_deeper(value, _DEEPEST):
        raise TableError(too_deep)
    if _SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = ascii(error.object[error.start])
            raise TableError(f"{where}: holds {half}, half a character (a lone surrogate)") from None
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return fields


_JSON = json.JSONDecoder(object_pairs_hook=_without_repeats)


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in inner)


def _by_column(path: Path, rows: list[tuple[int, dict[str, Any]]]) -> pa.Table:
    """Rows as a table. What one lacks of the others' fields is null."""
    names = dict.fromkeys(name for _, row in rows for name in row)
    columns = {}
    for name in names:
        values = [row.get(name) for _, row in rows]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowException, OverflowError) as error:
            at = _first_bad(values, pa.array)
            raise TableError(
                f"{path}, line {rows[at][0]}: {name!r} is of another type than before: {error}"
            ) from None
    return pa.table(columns)


def _csv_rows(path: Path, separator: str) -> list[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(_LONGEST_CELL)  # of the process: its own limit is 128 KiB
    # Strict, so that a quote that is not closed is an error.
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), delimiter=separator, strict=True)
    rows: list[tuple[int, dict[str, Any]]] = []
    try:
        _check_names(path, reader.fieldnames or ())
        for row in reader:
            if None in row:
                cells = len(row) - 1 + len(row[None])
                raise TableError(f"{path}, line {reader.line_num}: {_ragged(cells, len(row) - 1)}")
            rows.append((reader.line_num, row))
    except csv.Error as error:
        begins = rows[-1][0] + 1 if rows else 2
        raise TableError(f"{path}, line {begins}: not CSV: {error}") from None
    return rows


def _csv_table(path: Path, separator: str) -> pa.Table:
    content = _text(path).encode()
    if content.count(b'"') % 2:
        _csv_rows(path, separator)  # a quote that is not closed would swallow what follows it
    bad = []

    def refuse(row: Any) -> str:
        bad.append(row)
        return "error"

    try:
        table = pa.csv.read_csv(
            pa.BufferReader(content),
            # In one block, since a row that is longer than a block is an error. Only one thread counts rows.
            pa.csv.ReadOptions(use_threads=False, block_size=min(len(content) + 1, 2**31 - 1)),
            # A quoted value may hold several lines.
            pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=refuse),
        )
    except pa.ArrowException as error:
        if bad:
            found = _ragged(bad[0].actual_columns, bad[0].expected_columns)
            raise TableError(f"{path}, row {bad[0].number}: {found}") from None
        raise TableError(f"{path}: {error}") from None
    _check_names(path, table.column_names)
    return pa.table({name: _blank_as_null(table[name]) for name in table.column_names})


def _blank_as_null(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_string(values.type):
        return values  # Arrow has done so
    return pc.if_else(pc.equal(pc.utf8_trim_whitespace(values), ""), None, values)


def _arrow_table(path: Path) -> pa.Table:
    """A .parquet or .arrow file. Views, which much of Arrow does not read yet, become plain texts."""
    _check_is_file(path)
    try:
        with path.open("rb") as file:
            if _format(path) == ".parquet":
                stored = pa.parquet.ParquetFile(file)
                _check_names(path, stored.schema_arrow.names)
                table = stored.read()
            else:
                is_file = file.read(6) == b"ARROW1"
                file.seek(0)
                reader = pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)
                _check_names(path, reader.schema.names)
                table = reader.read_all()
            str(table.schema)  # decodes the names of nested fields as well
    except UnicodeDecodeError:
        raise TableError(f"{path}: the name of a column is not UTF-8") from None
    except (OSError, pa.ArrowException) as error:
        raise TableError(f"{path}: {error}") from None
    columns = {}
    for name, values in zip(table.column_names, table.columns, strict=True):
        try:
            values.validate(full=True)  # texts of a file may hold anything
        except pa.ArrowException as error:
            at = _first_bad(values, lambda part: part.validate(full=True))
            raise TableError(f"{path}, row {at + 1}: {name!r} cannot be read: {error}") from None
        columns[name] = values.cast(pa.string()) if pa.types.is_string_view(values.type) else values
    return pa.table(columns)


def _first_bad(values: Sequence[Any], read: Callable[[Any], object]) -> int:
    """The place of the first value that cannot be read, where not all can; found by bisection."""

    def fails(count: int) -> bool:
        try:
            read(values[:count])
        except (pa.ArrowException, OverflowError):
            return True
        return False

    return bisect_left(range(len(values)), True, lo=1, key=fails) - 1


def _ragged(found: int, expected: int) -> str:
    return f"found {found} cells for {expected} columns; put a cell that holds a separator in quotes"


def _unescaped(cell: str) -> str:
    """A cell as it was before `without_formulas`."""
    return re.sub("^'" + _FORMULA.removeprefix("^"), r"\1", cell)


def _check_names(path: Path, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise TableError(f"{path}: there are two columns {name!r}; rename one")
        seen.add(name)


def _lines(text: str) -> list[str]:
    """The lines of a text, which end in a line feed, perhaps after a carriage return, and in nothing else."""
    return [line.removesuffix("\n").removesuffix("\r") for line in io.StringIO(text, newline="\n")]


def _text(path: Path) -> str:
    """The text of a file, without the byte-order mark that spreadsheets put first."""
    content = _content(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise TableError(f"{path}, line {line}: not UTF-8 ({error.reason})") from None


def _spreadsheet_text(path: Path) -> str:
    content = _content(path)
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise TableError(f"{path}: not CSV; save the sheet as CSV in UTF-8")


def _content(path: Path) -> bytes:
    """What is in a file, decompressed."""
    _check_is_file(path)
    compression = _COMPRESSIONS.get(path.suffix.lower())
    if compression and not path.stat().st_size:
        raise TableError(f"{path}: is empty, which no compressed file is; it was cut off")
    try:
        with path.open("rb") as file:
            if compression is None:
                return file.read()
            content: bytes = pa.CompressedInputStream(pa.PythonFile(file, "r"), compression).read()
            return content
    except OSError as error:
        raise TableError(f"{path}: {error.strerror or error}") from None


def _check_is_file(path: Path) -> None:
    """Raise a `TableError` if it is none: a device may have no end, and a pipe nothing that writes to it."""
    try:
        if path.is_file():
            return
        if path.is_dir():
            raise TableError(f"{path}: Is a directory")
        if path.exists():
            raise TableError(f"{path}: is no regular file; write what it holds to one")
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}") from None
    raise TableError(f"{path}: no such file")
