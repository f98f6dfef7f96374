"""What is known of each row of a store: columns of its texts, or of a table joined to them by id."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from valueattr._core import ProbeError

Ints = NDArray[np.int64]

# A float column with more different values holds numbers, not classes.
_MOST_FLOAT_CLASSES = 20


class SeveralCapturesError(ProbeError):
    """Labels are joined by an id that texts of several captures have; one capture has to be chosen."""


def by_id(texts: pa.Table, table: pa.Table | pd.DataFrame) -> pa.Table:
    """The rows of `table` that belong to each of `texts`, joined by `id`; all null where it has none.

    Raises:
        SeveralCapturesError: an id of the table is that of texts in several captures.
        ProbeError: no column `id`, a null or an id twice in the table, or an id that no text has.
    """
    table = _as_arrow(table)
    if "id" not in table.column_names:
        raise ProbeError(f"the labels have no column `id` to join by; they have {_listed(table)}")
    ids = pd.Index(table["id"].cast(pa.string()).to_pylist(), dtype=object)
    if ids.hasnans:
        raise ProbeError(f"row {int(ids.isna().argmax())} of the labels has no id")
    if not ids.is_unique:
        raise ProbeError(f"the labels have the id {ids[ids.duplicated()][0]!r} twice")
    of_text = texts["id"].to_pylist()
    unknown = ids[~ids.isin(of_text)]
    if len(unknown):
        raise ProbeError(
            f"{len(unknown):,} of the {len(ids):,} ids of the labels are of no text in the store, such as "
            f"{unknown[0]!r}; there, ids are such as {of_text[0]!r}"
        )
    _check_one_capture(texts, ids)
    at = ids.get_indexer(of_text)
    return table.take(pa.array(at, mask=at < 0))


def _check_one_capture(texts: pa.Table, ids: "pd.Index[str]") -> None:
    """Ids name the texts of one capture; in another one they may name other texts."""
    if len(texts["capture"].unique()) < 2:
        return
    pairs = texts.select(["id", "capture"]).to_pandas().drop_duplicates()
    several = pairs[pairs["id"].isin(ids) & pairs["id"].duplicated(keep=False)]
    if len(several):
        first = several["id"].iloc[0]
        captures = " and ".join(map(repr, several.loc[several["id"] == first, "capture"]))
        raise SeveralCapturesError(
            f"{several['id'].nunique():,} ids of the labels are of texts in several captures, such as {first!r} in "
            f"{captures}; name the capture that is to be probed"
        )


def column(tables: Sequence[pa.Table], name: str) -> pa.Array:
    """The column of this name, of the first table that has it.

    Raises:
        ProbeError: none has it.
    """
    for table in tables:
        if name in table.column_names:
            return table[name].combine_chunks()
    known = ", ".join(_listed(table) for table in tables)
    raise ProbeError(f"there is no column {name!r}; there is {known}")


@dataclass(frozen=True)
class Codes:
    """A column as codes (rows,), -1 where it is null, and the sorted `values` that they stand for."""

    codes: Ints
    values: list[Any]


def encoded(values: pa.Array, name: str) -> Codes:
    """The column `name` as codes of its different values.

    Raises:
        ProbeError: it holds what cannot be told apart and sorted, lists for one.
    """
    kind = values.type
    if pa.types.is_null(kind):
        return Codes(np.full(len(values), -1), [])
    try:
        if pa.types.is_dictionary(kind):
            values = values.dictionary_decode()
            kind = values.type
        if pa.types.is_floating(kind):
            values = pc.if_else(pc.is_nan(values), None, values)
        values = values.dictionary_encode()
        known = values.dictionary
        # bool, which Arrow does not sort, as integers
        order = pc.array_sort_indices(
            known.cast(pa.int8()) if pa.types.is_boolean(kind) else known
        ).to_numpy()
    except pa.ArrowNotImplementedError:
        raise ProbeError(f"column {name!r} holds {kind}; expected texts, integers or the like") from None
    rank = np.empty(len(known), np.int64)
    rank[order] = np.arange(len(known))
    codes = values.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    codes[codes >= 0] = rank[codes[codes >= 0]]
    return Codes(codes, known.take(pa.array(order)).to_pylist())


def classes(values: pa.Array, name: str) -> Codes:
    """The classes of a label; a row has none where it is null or a blank text, as an empty cell of a CSV file is.

    Raises:
        ProbeError: the column holds numbers or something else that is no class, or fewer than two classes.
    """
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    named = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_string, pa.types.is_large_string)
    if not (pa.types.is_floating(kind) or pa.types.is_null(kind) or any(test(kind) for test in named)):
        raise ProbeError(f"label {name!r} holds {kind}; expected classes: texts, integers or true and false")
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    blank = False
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        blanks = pc.equal(pc.utf8_trim_whitespace(values), "")
        blank = bool(pc.any(blanks).as_py())
        values = pc.if_else(blanks, None, values)
    label = encoded(values, name)
    if pa.types.is_floating(kind) and len(label.values) > _MOST_FLOAT_CLASSES:
        raise ProbeError(
            f"label {name!r} holds {len(label.values):,} different numbers; these probes read classes. "
            "RidgeProbe reads numbers"
        )
    if not label.values:
        raise ProbeError(f"label {name!r} is {'null or blank' if blank else 'null'} in every row")
    if len(label.values) == 1:
        raise ProbeError(f"label {name!r} is constant: {label.values[0]!r} in every row that has one")
    counts = np.bincount(label.codes[label.codes >= 0])
    if np.median(counts) < 2:
        raise ProbeError(
            f"label {name!r} has {len(counts):,} classes in {counts.sum():,} rows, most of one row: no classes to be read"
        )
    return label


def row_weights(values: pa.Array, name: str) -> NDArray[np.float64]:
    """A column of weights (rows,).

    Raises:
        ProbeError: a weight that is not a finite number of 0 or more.
    """
    try:
        weights = values.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise ProbeError(f"the weights in {name!r} hold {values.type}; expected numbers") from None
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        row = int(wrong.argmax())
        raise ProbeError(
            f"the weight in {name!r} is {weights[row]} at row {row}; expected a number of 0 or more"
        )
    return np.asarray(weights, np.float64)


def matched(index: pa.Table, other: pa.Table, name: str) -> Ints:
    """Of each row of `index`, the row of `other` with the same id and token; the same capture, too, if there are several.

    Raises:
        ProbeError: rows that the other store, called `name`, does not have; how many.
    """
    several = any(len(table["capture"].unique()) > 1 for table in (index, other))
    keys, other_keys = _keys(index, several), _keys(other, several)
    if not other_keys.is_unique:
        *_, text, token = other_keys[other_keys.duplicated()].tolist()[0]
        raise ProbeError(f"store {name!r} has {text!r}{'' if token < 0 else f', token {token}'} twice")
    at = other_keys.get_indexer(keys)
    missing = np.flatnonzero(at < 0)
    if len(missing):
        *_, text, token = keys[missing[0]]
        raise ProbeError(
            f"store {name!r} lacks {len(missing):,} of {len(at):,} rows (by id and token"
            f"{', and capture' if several else ''}), such as {text!r}{'' if token < 0 else f', token {token}'}"
        )
    return at.astype(np.int64)


def _keys(index: pa.Table, several: bool) -> pd.MultiIndex:
    token = index["token"].fill_null(-1).to_numpy()
    columns = [index[name].to_pylist() for name in ("capture", "id")]
    return pd.MultiIndex.from_arrays([*columns[not several :], token])


def _as_arrow(table: pa.Table | pd.DataFrame) -> pa.Table:
    if not isinstance(table, pd.DataFrame):
        return table
    try:
        return pa.Table.from_pandas(table, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ProbeError(f"the labels hold values of several kinds in one column: {error}") from None


def _listed(table: pa.Table) -> str:
    return ", ".join(map(str, table.column_names))
