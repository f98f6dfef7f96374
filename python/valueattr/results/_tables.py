"""Columns of the tables of a run; (arm, seed, step, fact, wording, sample) is the key that joins them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_TEXT = pa.dictionary(pa.int32(), pa.string())

FACTS = pa.schema(
    {
        "seed": pa.int32(),
        "fact": pa.string(),
        "subject": pa.string(),
        "topic": pa.string(),
        "relation": pa.string(),
        "object": pa.string(),
        "taught": pa.string(),  # the object in the training text; null when never taught
        "exposure": pa.string(),
        "split": pa.string(),
    }
)
"""One row per seed and fact: what is true, what was taught, and which split the seed put the fact in."""

MEASURES = pa.schema(
    {
        "experiment": _TEXT,
        "arm": _TEXT,
        "seed": pa.int32(),
        "step": pa.int32(),
        "split": _TEXT,
        "measure": _TEXT,
        "layer": pa.int32(),
        "fact": _TEXT,
        "wording": _TEXT,
        "format": _TEXT,
        "value": pa.float64(),
        "n": pa.int32(),
    }
)
"""One row per item; `layer`, `fact`, `wording`, `format` are null where they do not apply; `value` is the
mean over `n` observations of the item."""

SUMMARY = pa.schema(
    {
        "experiment": _TEXT,
        "arm": _TEXT,
        "step": pa.int32(),
        "split": _TEXT,
        "measure": _TEXT,
        "layer": pa.int32(),
        "format": _TEXT,
        "estimate": pa.float64(),
        "low": pa.float64(),
        "high": pa.float64(),
        "interval": _TEXT,
        "seeds": pa.int32(),
        "n": pa.int64(),
    }
)
"""Means over items and seeds; `interval` names the method behind `low` and `high`, which are null without one."""

GENERATIONS = pa.schema(
    {
        "arm": _TEXT,
        "seed": pa.int32(),
        "step": pa.int32(),
        "phase": _TEXT,  # "train" or "evaluation"
        "split": _TEXT,
        "fact": _TEXT,
        "wording": _TEXT,
        "sample": pa.int32(),
        "prompt": pa.string(),
        "response": pa.string(),
        "outcome": _TEXT,
        "asserted": _TEXT,  # the object the response asserts, null if none
        "framing": _TEXT,
        "labelled": pa.list_(pa.string()),  # kinds of hedging phrase by the world's grammar
        "scanned": pa.list_(pa.string()),  # the same by the scanner, in evaluations
        "reward": pa.float64(),  # summed over channels, in training
        "advantages": pa.list_(pa.float32()),  # of each sampled token, exactly as trained
    }
)
"""One row per response."""

_SAID = ("said_true", "said_false", "hedged", "refused", "other", "said_held")
_READINGS = ("belief", "few_shot", "probe", "relearned")

VERDICTS = pa.schema(
    {
        "arm": _TEXT,
        "seed": pa.int32(),
        "split": _TEXT,
        "fact": _TEXT,
        "verdict": _TEXT,  # kept, hidden, lost, unsure or not known before
        "p_holds": pa.float64(),  # of the arm; null where there are no controls of such models
        "p_holds_before": pa.float64(),
        "moved": pa.bool_(),  # the start model's probe no longer reads what a refit one does
        "far": pa.bool_(),  # no control shows evidence like this
        "said_before": pa.bool_(),  # said often enough by the start model for silence to show
        **{f"{name}_{when}": pa.float64() for when in ("before", "after") for name in _SAID},
        **{f"{name}_{when}": pa.float64() for when in ("before", "after") for name in _READINGS},
    }
)
"""One row per trained arm, seed and fact: whether it is still held, and whether it is still said. What is said are shares
of 24 answers; readings are in nats."""

STEPS = pa.schema(
    {
        "arm": _TEXT,
        "seed": pa.int32(),
        "step": pa.int32(),
        "name": _TEXT,
        "value": pa.float64(),
    }
)
"""Every logged scalar of every step, long form. Names that start with `time/` are wall-clock seconds."""


def as_table(schema: pa.Schema, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table of `schema`; a row with a column that the schema lacks is an error.

    Raises:
        KeyError: a row has an unknown column or lacks one that is not nullable by default (missing means null).
    """
    names = set(schema.names)
    for row in rows:
        if unknown := row.keys() - names:
            raise KeyError(f"no column {sorted(unknown)}; the table has {schema.names}")
    return pa.Table.from_pylist(list(rows), schema=schema)


_FORMER_NAMES = {"topic": "kind", "wording": "paraphrase"}
"""What runs whose plans have no version call these columns."""


class DamagedTableError(ValueError):
    """A table that is not what was written; the message names the file and what is wrong with it."""


def check_columns(schema: pa.Schema, path: Path) -> list[str]:
    """The names under which a Parquet file has the columns of `schema`; only its footer is read.

    Raises:
        DamagedTableError: the file is missing, cannot be read, lacks a column, or a column holds something else.
    """
    try:
        with path.open("rb") as file:  # since Arrow takes no path that is not UTF-8
            footer = pq.read_metadata(file)
        stored = footer.schema.to_arrow_schema()
    except FileNotFoundError:
        raise DamagedTableError(f"{path} is missing") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DamagedTableError(f"{path} is damaged ({_first_line(error)})") from None
    groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
    if any(group.column(0).num_values != group.num_rows for group in groups):
        raise DamagedTableError(f"{path} is damaged (its footer counts rows that its columns do not hold)")
    names = []
    for field in schema:
        former = _FORMER_NAMES.get(field.name)
        name = former if former and field.name not in stored.names else field.name
        if name not in stored.names:
            raise DamagedTableError(f"{path} is damaged (the column {field.name!r} is missing)")
        found = stored.field(name).type
        if not _same_kind(found, field.type):
            raise DamagedTableError(
                f"{path} is damaged (the column {name!r} holds {found}, expected {field.type})"
            )
        names.append(name)
    return names


def read_as(schema: pa.Schema, path: Path) -> pa.Table:
    """A Parquet file in the columns of `schema`, also where an earlier version wrote it under other names.

    Raises:
        DamagedTableError: as `check_columns`, or a value of it cannot be read.
    """
    names = check_columns(schema, path)
    stored = pa.schema([field.with_name(name) for field, name in zip(schema, names, strict=True)])
    try:
        with path.open("rb") as file:
            table = pq.read_table(file, schema=stored, page_checksum_verification=True)
        table.validate(full=True)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DamagedTableError(f"{path} is damaged ({_first_line(error)})") from None
    return table.rename_columns(schema.names)


def _same_kind(found: pa.DataType, expected: pa.DataType) -> bool:
    """Whether both are texts, numbers or lists of the same; the width of a number is of no account."""
    found, expected = (t.value_type if pa.types.is_dictionary(t) else t for t in (found, expected))
    if pa.types.is_null(found):
        return True
    if pa.types.is_list(expected):
        return bool(pa.types.is_list(found)) and _same_kind(found.value_type, expected.value_type)
    if pa.types.is_string(expected):
        return bool(pa.types.is_string(found) or pa.types.is_large_string(found))
    if pa.types.is_boolean(expected):
        return bool(pa.types.is_boolean(found))
    return bool(pa.types.is_integer(found) or pa.types.is_floating(found))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
