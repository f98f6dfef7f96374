"""Files of rows, read in one place: JSON lines, CSV, Parquet, or plain lines of text; and CSV that people open.

Rows that people write by hand come with their line numbers (`read_rows`, `read_json_lines`), so that errors can name
the line. Tables of any size come by columns (`read_table`, `read_texts`). What a spreadsheet would take for a formula
is written as text (`write_csv`, `without_formulas`).
"""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

# Looked for in this order.
TEXT_COLUMNS = ("text", "statement", "response", "completion", "prompt")

_FORMULA = r"^([=+\-@\t\r])"
_AS_TEXT = r"'\1"


class TableError(ValueError):
    """A file of rows that cannot be read. The message names the file, the line or column, and what was expected."""


def read_rows(path: str | Path) -> list[tuple[int, dict[str, Any]]]:
    """The rows of a .jsonl or .csv file, each with the number of its (last) line; blank lines are left out.

    Values of a CSV file are texts, and None where a line is too short.

    Raises:
        TableError: the file is not there, cannot be read, is not UTF-8 or has another format, or a line is not a JSON
            object.
    """
    path = Path(path)
    match path.suffix.lower():
        case ".jsonl":
            return read_json_lines(path)
        case ".csv":
            reader = csv.DictReader(io.StringIO(_text(path), newline=""))
            try:
                return [(reader.line_num, row) for row in reader]
            except csv.Error as error:
                raise TableError(f"{path}, line {reader.reader.line_num}: not CSV: {error}") from None
    raise TableError(f"{path}: expected a .csv or .jsonl file")


def read_json_lines(path: str | Path) -> list[tuple[int, dict[str, Any]]]:
    """The JSON objects of a file with one a line, whatever its name, each with the number of its line.

    Raises:
        TableError: the file is not there, cannot be read or is not UTF-8, or a line is not a JSON object.
    """
    path = Path(path)
    rows = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise TableError(f"{path}, line {number}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise TableError(f"{path}, line {number}: expected a JSON object, found {type(row).__name__}")
        rows.append((number, row))
    return rows


def read_table(path: str | Path) -> pa.Table:
    """All columns of a .jsonl, .csv or .parquet file; a .txt file has one column, `text`, with its lines.

    Raises:
        TableError: the file is not there, cannot be read, is not UTF-8 or has another format, or a line of it is broken.
    """
    path = Path(path)
    try:
        match path.suffix.lower():
            case ".jsonl":
                table = pa.json.read_json(path)
                table.validate(full=True)  # Arrow reads JSON without a look at its encoding
                return table
            case ".csv":
                # A quoted value may hold several lines.
                table = pa.csv.read_csv(path, parse_options=pa.csv.ParseOptions(newlines_in_values=True))
                if any(pa.types.is_binary(kind) for kind in table.schema.types):
                    _text(path)  # names the line that is not UTF-8
                return table
            case ".parquet":
                return pa.parquet.read_table(path)
            case ".txt":
                return pa.table({"text": pa.array(_lines(path), pa.string())})
    except FileNotFoundError:
        raise TableError(f"{path}: no such file") from None
    except (OSError, pa.ArrowException) as error:
        if path.suffix.lower() == ".jsonl":
            read_json_lines(path)  # names the line, where one is at fault
        raise TableError(f"{path}: {error}") from None
    raise TableError(f"{path}: expected a .jsonl, .csv, .parquet or .txt file")


def read_texts(path: str | Path, field: str | None = None) -> tuple[list[str], pa.Table]:
    """The texts of a .jsonl, .csv, .parquet or .txt file, and a table of its other columns.

    field: the column that holds the text; by default the first of `TEXT_COLUMNS` that there is.

    Raises:
        TableError: as for `read_table`, and where there is no such column or a row has no text.
    """
    path = Path(path)
    table = read_table(path)
    wanted = field or next((name for name in TEXT_COLUMNS if name in table.column_names), TEXT_COLUMNS[0])
    if wanted not in table.column_names:
        raise TableError(f"{path}: there is no column {wanted!r}; it has {', '.join(table.column_names)}")
    values = table[wanted]
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        raise TableError(f"{path}: column {wanted!r} holds {values.type}, expected texts")
    texts = values.to_pylist()
    for row, text in enumerate(texts, 1):
        if not text:
            raise TableError(f"{path}, row {row}: `{wanted}` is {text!r}, expected a text")
    return texts, table.drop_columns([wanted])


def write_csv(path: str | Path, table: pa.Table) -> None:
    """Write a table as CSV, without formulas: texts in quotation marks, nulls as nothing, in UTF-8.

    Columns hold texts, numbers, booleans, or times.
    """
    pa.csv.write_csv(without_formulas(table), path)


def without_formulas(table: pa.Table) -> pa.Table:
    """The table with an apostrophe before each text, and each name of a column, that a spreadsheet would compute.

    These begin with =, +, -, @, a tab or a carriage return: https://owasp.org/www-community/attacks/CSV_Injection.
    """
    columns = []
    for column in table.columns:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        columns.append(pc.replace_substring_regex(column, _FORMULA, _AS_TEXT) if is_text else column)
    names = [re.sub(_FORMULA, _AS_TEXT, name) for name in table.column_names]
    return pa.Table.from_arrays(columns, names)


def _lines(path: Path) -> list[str]:
    """The lines of a text file, which end in a line feed, a carriage return or both, and in nothing else."""
    return [line.removesuffix("\n") for line in io.StringIO(_text(path), newline=None)]


def _text(path: Path) -> str:
    """The text of a file, without the byte-order mark that spreadsheets put first."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise TableError(f"{path}: no such file") from None
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise TableError(f"{path}, line {line}: not UTF-8 ({error.reason})") from None
