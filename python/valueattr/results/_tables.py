"""Columns of the five tables; (arm, seed, step, fact, wording, sample) is the key that joins them."""

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


def read_as(schema: pa.Schema, path: Path) -> pa.Table:
    """A Parquet file in the columns of `schema`, also where an earlier version wrote it under other names."""
    written = set(pq.read_schema(path).names)
    names = [
        former if name not in written and (former := _FORMER_NAMES.get(name)) in written else name
        for name in schema.names
    ]
    stored = pa.schema([field.with_name(name) for field, name in zip(schema, names, strict=True)])
    return pq.read_table(path, schema=stored).rename_columns(schema.names)
