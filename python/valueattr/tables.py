"""Texts and what belongs to them, from a file: JSON lines, CSV, Parquet, or plain lines."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.json as json
import pyarrow.parquet as pq

# Looked for in this order.
TEXT_COLUMNS = ("text", "statement", "response", "completion", "prompt")


class TextsError(ValueError):
    """Texts that cannot be read; the message names the file, the row or column, and what was expected."""


def read_texts(path: str | Path, field: str | None = None) -> tuple[list[str], pa.Table]:
    """The texts of a .jsonl, .csv, .parquet or .txt file, and a table of its other columns.

    field: the column that holds the text; by default the first of `TEXT_COLUMNS` that there is.

    Raises:
        TextsError: no file, none of these formats, no such column, or a row without a text.
    """
    path = Path(path)
    table = read_table(path)
    wanted = field or next((name for name in TEXT_COLUMNS if name in table.column_names), TEXT_COLUMNS[0])
    if wanted not in table.column_names:
        raise TextsError(f"{path}: there is no column {wanted!r}; it has {', '.join(table.column_names)}")
    values = table[wanted]
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        raise TextsError(f"{path}: column {wanted!r} holds {values.type}, expected texts")
    texts = values.to_pylist()
    for row, text in enumerate(texts, 1):
        if not text:
            raise TextsError(f"{path}, row {row}: `{wanted}` is {text!r}, expected a text")
    return texts, table.drop_columns([wanted])


def read_table(path: Path) -> pa.Table:
    """All columns of a .jsonl, .csv or .parquet file; of a .txt file its lines, as `text`.

    Raises:
        TextsError: no file, or none of these formats.
    """
    readers = {
        ".jsonl": json.read_json,
        ".csv": lambda path: csv.read_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True)),
        ".parquet": pq.read_table,
        ".txt": lambda path: pa.table({"text": path.read_text("utf-8").splitlines()}),
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise TextsError(f"{path}: of no known format; known: {', '.join(readers)}")
    try:
        return reader(path)
    except FileNotFoundError:
        raise TextsError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, pa.ArrowInvalid) as error:
        raise TextsError(f"{path}: {error}") from None
