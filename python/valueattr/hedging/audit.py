"""The scanner's error on one's own responses: a sheet to be labelled by hand, and the shares corrected by it.

    sheet = audit_sheet(responses, "text", by=["arm"])     # a person fills in its `label` column with 0 and 1
    corrected = corrected_shares(responses, "text", sheet)  # what the scanner flags, and what is true

The sheet is stratified on the scanner's flag and does not show it, so that the labels are blind. It may be written
(`write_sheet`), labelled in any spreadsheet program, and read again (`read_sheet`).

What any other rater wrote in a field is audited in the same way, as a `Verdict` in place of the scanner's flag;
`rater_agreement` says how far several raters agree.
"""

import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from valueattr.hedging import HEDGES, KINDS, HedgeScanner
from valueattr.hedging._inputs import DumpError, FolderError, Inputs, find_inputs
from valueattr.results import RunDirectory
from valueattr.stats import (
    TooFewClustersError,
    agreement,
    audit_sample,
    corrected_prevalence,
    raw_prevalence,
)
from valueattr.tables import TableError, read_records, read_spreadsheet, write_csv

__all__ = [
    "ANY",
    "AuditError",
    "Inputs",
    "UnclearFolderError",
    "Verdict",
    "audit_sheet",
    "corrected_shares",
    "is_run",
    "rater_agreement",
    "read_responses",
    "read_sheet",
    "response_files",
    "shown",
    "write_sheet",
]

ANY = "any"
"""Any kind that hedges."""

# `by` lists the fields of the groups, which are columns as well. Sheets that were made before do not have it.
_NEEDED = ("row", "digest", "kind", "text", "label")
_SHEET = ("row", "digest", "kind", "by", "text", "label")
_SHARES = ("n", "audited", "raw", "raw_low", "raw_high", "corrected", "low", "high")

_WHOLE = re.compile(r"([0-9]{1,18})([.,]0*)?")
_LIKE_A_NUMBER = re.compile(r"[0-9]+(e[0-9]+)?")

# Values of a field that an error names.
_MOST_NAMED = 8


class AuditError(ValueError):
    """Responses or a sheet that cannot be used; the message names the file or line and what to do."""


class UnclearFolderError(AuditError):
    """A folder of which it is not clear what to read; excluding some of its files helps."""


@dataclass(frozen=True)
class Verdict:
    """A flag that a rater set: that a field, by its name or its dotted path, is this value, as JSON has it."""

    field: str
    value: str

    def __str__(self) -> str:
        """As a sheet names it, in its column `kind`."""
        return json.dumps({self.field: self.value}, ensure_ascii=False)


def is_run(path: Path) -> bool:
    """Whether a folder is a run directory, whose files are not read as a scan would read them."""
    return os.path.isfile(path / "plan.json")  # which is no error where the path cannot be


def response_files(path: str | Path, exclude: Sequence[str] = ()) -> Inputs:
    """The files that `read_responses` reads, and those of a folder that it leaves out.

    Raises:
        UnclearFolderError: a folder holds dumps of several formats, or something that cannot be read.
        AuditError: a folder holds neither a run nor a dump.
    """
    path = Path(path)
    if is_run(path):
        return Inputs([path / "generations.parquet"])
    if not os.path.isdir(path):
        return Inputs([path])
    try:
        return find_inputs([path], exclude)
    except FolderError as error:
        raise UnclearFolderError(str(error)) from error
    except DumpError as error:
        raise AuditError(str(error)) from error


def read_responses(
    path: str | Path, field: str | None = None, *, exclude: Sequence[str] = ()
) -> pd.DataFrame:
    """Responses from a dump, in any format that `scan_dump` takes, or the evaluations of a run at each arm's last step.

    path: a file, a folder of files, which are read in order of name, or a run directory.
    field: what must hold a text in every row, by its name or its dotted path.
    exclude: patterns such as "*.txt" of files and folders of a folder that are left out, as for `scan_dump`.

    Raises:
        UnclearFolderError: as for `response_files`.
        AuditError: a file is missing, broken, or of another type, or a row has no text in `field`.
    """
    path = Path(path)
    if is_run(path):
        rows = RunDirectory(path).table("generations")
        rows = rows[rows["phase"] == "evaluation"]
        last = rows.groupby("arm", observed=True)["step"].transform("max")
        return rows[rows["step"] == last].drop(columns=["advantages", "reward"]).reset_index(drop=True)
    responses: list[dict[str, Any]] = []
    for file in response_files(path, exclude).files:
        try:
            numbered = read_records(file)
        except TableError as error:
            raise AuditError(str(error)) from error
        if field is not None:
            counted = "row" if file.suffix.lower() in (".parquet", ".arrow") else "line"
            for number, row in numbered:
                _check_text(row, field, f"{file}, {counted} {number}")
        responses += [row for _, row in numbered]
    if not responses:
        raise AuditError(f"{path}: holds no rows")
    return pd.DataFrame(responses, dtype=object)


def write_sheet(sheet: pd.DataFrame, path: str | Path) -> None:
    """Write a sheet as a CSV file, in which no cell is a formula."""
    columns = {name: [shown(value) for value in sheet[name]] for name in sheet.columns if name != "row"}
    write_csv(path, pa.table({"row": sheet["row"].to_numpy(), **columns}))


def read_sheet(path: str | Path) -> pd.DataFrame:
    """A sheet that `write_sheet` wrote and a person labelled, from a CSV file as any spreadsheet program saves it.

    Raises:
        AuditError: the file is missing or empty, not a CSV file, or lacks a column.
    """
    try:
        sheet = read_spreadsheet(path, _NEEDED)
    except TableError as error:
        raise AuditError(f"{error}; export the sheet anew or mend it") from error
    sheet.attrs["name"] = str(path)
    return sheet


def audit_sheet(
    responses: pd.DataFrame,
    field: str,
    by: Sequence[str] = (),
    kind: str | Verdict = ANY,
    per_stratum: int = 50,
    seed: int = 0,
) -> pd.DataFrame:
    """The sheet: per group of `by`, up to `per_stratum` responses that are flagged and as many that are not.

    Columns: `row` of the responses, `digest` of its text, `kind`, `by` (the names of the fields, as JSON), those fields,
    `text`, and `label`, to be filled in: 1 where the text holds such a phrase of the speaker's own, or is what the verdict
    says, else 0. The order is random. Rows where a field of `by` is missing or null are one group, "null".

    field, by: names, or dotted paths into objects and lists.
    kind: of phrase, which the scanner flags, or the verdict of another rater.

    Raises:
        AuditError: no such field, kind or verdict, a text that is missing, or a field of `by` with the name of another
            column, or that shows the verdict.
    """
    texts, flags = _flagged(responses, field, kind)
    by = list(dict.fromkeys(by))
    if isinstance(kind, Verdict) and kind.field in by:
        raise AuditError(f"cannot group by {kind.field!r}: the labels would not be blind to the verdict")
    if taken := [name for name in by if name in (*_SHEET, *_SHARES)]:
        raise AuditError(
            f"cannot group by {taken[0]!r}, which names another column of the sheet; rename the field"
        )
    rows = np.concatenate(
        [own[audit_sample(flags[own], per_stratum, seed)] for _, own in _groups(responses, by)]
    )
    np.random.default_rng(seed).shuffle(rows)
    groups = {name: _values(responses, name) for name in by}
    return pd.DataFrame(
        {
            "row": rows,
            "digest": [_digest(texts[row]) for row in rows],
            "kind": str(kind),
            "by": json.dumps(by, ensure_ascii=False),
            **{name: [_or_null(values[row]) for row in rows] for name, values in groups.items()},
            "text": [texts[row] for row in rows],
            "label": "",
        }
    )


def corrected_shares(responses: pd.DataFrame, field: str, sheet: pd.DataFrame) -> pd.DataFrame:
    """Per group of the sheet, the share of responses that are flagged and the share corrected by the labels.

    Columns: those of the groups, None for what is missing; `n` responses, `audited`; `raw`, `raw_low`, `raw_high`
    (Wilson); `corrected`, `low`, `high` (prediction-powered): 95% intervals.

    Raises:
        AuditError: a label is not 0 or 1, the sheet is of other responses or has a row twice, or a group has too few
            labels.
    """
    name = sheet.attrs.get("name", "the sheet")
    if missing := [column for column in _NEEDED if column not in sheet.columns]:
        raise AuditError(f"{name} lacks the columns {missing}; export it anew")
    if not len(sheet):
        raise AuditError(f"{name} has no rows; export it anew")
    lines = sheet.index.tolist() if sheet.index.name == "line" else list(range(2, len(sheet) + 2))
    by, kind = _grouped_by(sheet, responses, name), _kind_of(_the_same(sheet, "kind", name))
    try:
        _check_kind(responses, kind)
        for grouped in by:
            _values(responses, grouped)
    except AuditError as error:
        raise AuditError(f"{name}: {error}; export the sheet anew") from None
    texts, flags = _flagged(responses, field, kind)
    labels = _labels(sheet, lines, name)
    at = {row: i for i, row in enumerate(_rows(sheet, lines, texts, name))}
    shares = []
    for group, own in _groups(responses, by):
        audited = [place for place, row in enumerate(own.tolist()) if row in at]
        mine = [at[row] for row in own[audited].tolist()]
        try:
            corrected = corrected_prevalence(flags[own], audited, labels[mine])
        except TooFewClustersError as error:
            where = ", ".join(f"{field} {shown(value)}" for field, value in zip(by, group, strict=True))
            raise AuditError(f"{name}: {where or 'the responses'}: {error}") from None
        raw = raw_prevalence(flags[own])
        counts, estimates = (len(own), len(mine)), (corrected.estimate, corrected.low, corrected.high)
        shares.append((*group, *counts, raw.estimate, raw.low, raw.high, *estimates))
    # Values of groups stay what they are; the rest are numbers.
    table = pd.DataFrame(shares, columns=[*by, *_SHARES], dtype=object)
    return table.astype(dict.fromkeys(_SHARES, np.float64) | dict.fromkeys(_SHARES[:2], np.int64))


def rater_agreement(responses: pd.DataFrame, fields: Sequence[str]) -> pd.DataFrame:
    """How far raters agree that each wrote its labels in a field: all of them in the first row, then every pair.

    Columns: `raters`, their fields; `n`, the responses that two of them labelled; `same`, the share of these on which
    their labels are one; `alpha`, Krippendorff's. The last two are NaN where they are not defined. A label that is missing,
    null or blank is none.

    fields: names, or dotted paths into objects and lists.

    Raises:
        AuditError: no such field, or fewer than two.
    """
    labels = {field: [_label(value) for value in _values(responses, field)] for field in fields}
    if len(labels) < 2:
        raise AuditError("agreement is between the labels of two raters or more: name a field of each")
    pairs = list(combinations(labels, 2))
    rows = []
    for raters in dict.fromkeys([tuple(labels), *pairs]):
        units = list(zip(*(labels[rater] for rater in raters), strict=True))
        given = [own for unit in units if len(own := [label for label in unit if label is not None]) > 1]
        same = float(np.mean([len(set(own)) == 1 for own in given])) if given else math.nan
        rows.append((raters, len(given), same, agreement(units)))
    return pd.DataFrame(rows, columns=["raters", "n", "same", "alpha"])


def _label(value: Any) -> Hashable:
    """What tells labels apart; None where there is no label, for which a CSV file has a blank cell."""
    if isinstance(value, str):
        value = value.strip() or None
    return None if value is None else _key(value)


def _flagged(responses: pd.DataFrame, field: str, kind: str | Verdict) -> tuple[list[str], NDArray[np.bool_]]:
    """The texts, and whether each is flagged."""
    _check_kind(responses, kind)
    texts = _values(responses, field)
    if (bad := next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)) is not None:
        raise AuditError(f"row {bad}: {field!r} is {texts[bad]!r}, expected a text")
    if isinstance(kind, Verdict):
        return texts, np.array([value == kind.value for value in _verdicts(responses, kind)])
    try:
        counts = HedgeScanner().scan(texts)
    except ValueError as error:  # half a character
        raise AuditError(f"{field!r}: {error}") from error
    kinds = HEDGES if kind == ANY else (kind,)
    return texts, np.any([counts.column(name).to_numpy() > 0 for name in kinds], axis=0)


def _verdicts(responses: pd.DataFrame, verdict: Verdict) -> list[str]:
    return [shown(value) for value in _values(responses, verdict.field)]


def _check_kind(responses: pd.DataFrame, kind: str | Verdict) -> None:
    if isinstance(kind, Verdict):
        given = Counter(_verdicts(responses, kind))
        if kind.value not in given:
            named = ", ".join(repr(value[:40]) for value, _ in given.most_common(_MOST_NAMED))
            more = ", ..." if len(given) > _MOST_NAMED else ""
            raise AuditError(f"{kind.field!r} is never {kind.value!r}; it is {named}{more}")
    elif kind != ANY and kind not in KINDS:
        raise AuditError(f"unknown kind {kind!r}; known: {ANY}, {', '.join(KINDS)}")


def _kind_of(named: str) -> str | Verdict:
    """The kind that a sheet names."""
    try:
        value = json.loads(named)
    except (ValueError, RecursionError):
        return named
    match list(value.items()) if isinstance(value, dict) else []:
        case [(str(field), str(value))]:
            return Verdict(field, value)
    return named


def _groups(responses: pd.DataFrame, by: Sequence[str]) -> list[tuple[tuple[Any, ...], NDArray[np.intp]]]:
    """The values of each group, None for what is missing, and its rows; in order of appearance."""
    if not len(responses):
        raise AuditError("there are no responses")
    if not by:
        return [((), np.arange(len(responses)))]
    groups: dict[Hashable, tuple[tuple[Any, ...], list[int]]] = {}
    for row, values in enumerate(zip(*(_values(responses, name) for name in by), strict=True)):
        groups.setdefault(tuple(map(_key, values)), (values, []))[1].append(row)
    return [(values, np.array(rows)) for values, rows in groups.values()]


def _key(value: Any) -> Hashable:
    """What tells values apart: 1 and 1.0 are the same, true and 1 are not, and a list has no hash."""
    if not isinstance(value, Hashable):
        return json.dumps(value, sort_keys=True, default=str)
    return isinstance(value, bool), value


def _or_null(value: Any) -> Any:
    return "null" if value is None else value


def shown(value: Any) -> str:
    """A value as JSON has it, a text without its quotation marks."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _values(responses: pd.DataFrame, name: str) -> list[Any]:
    """The values of a field, by its name or its dotted path, None where there is none."""
    if name in responses.columns:
        values = responses[name].tolist()
    else:
        first, *steps = name.split(".")
        outer = responses[first].tolist() if steps and first in responses.columns else []
        values = [_at(value, steps) for value in outer]
        if all(value is None for value in values):
            raise AuditError(f"no field {name!r}; there are {', '.join(map(str, responses.columns))}")
    return [None if pd.api.types.is_scalar(value) and pd.isna(value) else value for value in values]


def _at(value: Any, steps: Sequence[str]) -> Any:
    """What a path leads to in objects and lists, None if to nothing."""
    for step in steps:
        if isinstance(value, dict):
            value = value.get(step)
        elif (
            isinstance(value, list | np.ndarray)
            and re.fullmatch("[0-9]{1,9}", step)
            and int(step) < len(value)
        ):
            value = value[int(step)]
        else:
            return None
    return value


def _check_text(row: dict[str, Any], field: str, where: str) -> None:
    value = row[field] if field in row else _at(row, field.split("."))
    if isinstance(value, str):
        return
    if value is None:
        raise AuditError(f"{where}: there is no text in the field {field!r}; the fields are {', '.join(row)}")
    inside = "; name a text in it, such as messages.1.content" if isinstance(value, dict | list) else ""
    raise AuditError(f"{where}: {field!r} holds {type(value).__name__}, expected a text{inside}")


def _grouped_by(sheet: pd.DataFrame, responses: pd.DataFrame, name: str) -> list[str]:
    """The fields of the groups; other columns are a person's own."""
    if "by" not in sheet.columns:
        return [column for column in sheet.columns if column not in _SHEET and column in responses.columns]
    listed = _the_same(sheet, "by", name)
    try:
        by = json.loads(listed)
    except (ValueError, RecursionError):
        by = None
    if not isinstance(by, list) or not all(isinstance(field, str) for field in by):
        raise AuditError(f"{name}: `by` is {listed!r}, expected a list of fields; export the sheet anew")
    return by


def _the_same(sheet: pd.DataFrame, column: str, name: str) -> str:
    """The value of a column that has one value only."""
    values = sheet[column].astype(str).str.strip().unique()
    if len(values) > 1:
        raise AuditError(
            f"{name}: `{column}` is {values[0]!r} and {values[1]!r}; a sheet has the same in all rows"
        )
    return str(values[0])


def _labels(sheet: pd.DataFrame, lines: Sequence[int], name: str) -> NDArray[np.float64]:
    """The labels (n,), as a person or a spreadsheet program writes them: 1, " 1 ", "1.0", "1,00"."""
    values = [_whole(value) for value in sheet["label"]]
    bad = [line for line, value in zip(lines, values, strict=True) if value not in (0, 1)]
    if bad:
        listed = ", ".join(map(str, bad[:10])) + (" ..." if len(bad) > 10 else "")
        raise AuditError(f"{len(bad)} label(s) of {name} are not 0 or 1: line(s) {listed}")
    return np.array(values, dtype=np.float64)


def _rows(sheet: pd.DataFrame, lines: Sequence[int], texts: Sequence[str], name: str) -> list[int]:
    """The rows of the responses that the sheet has, each once and of the text that it had."""
    line_of: dict[int, int] = {}
    for line, value, digest in zip(lines, sheet["row"], sheet["digest"], strict=True):
        row = _whole(value)
        if row is None:
            raise AuditError(
                f"line {line} of {name}: `row` is {value!r}, expected a number; export the sheet anew"
            )
        if row >= len(texts) or not _same_digest(str(digest).strip(), _digest(texts[row])):
            raise AuditError(
                f"line {line} of {name} is of another text than row {row} of the responses; "
                "give the responses and the field that it was exported from"
            )
        if row in line_of:
            raise AuditError(
                f"line {line} of {name} repeats row {row}, which line {line_of[row]} has; remove one"
            )
        line_of[row] = line
    return list(line_of)


def _whole(value: Any) -> int | None:
    found = _WHOLE.fullmatch(str(value).strip())
    return int(found[1]) if found else None


def _same_digest(found: str, digest: str) -> bool:
    """Whether a digest is as it was, or what a spreadsheet program makes of one that looks like a number.

    Such a program takes leading zeros off 012345678901 and shows 1e1234567890 or 123456789012 with six digits.
    """
    if found == digest:
        return True
    if not _LIKE_A_NUMBER.fullmatch(digest) or math.isinf(float(digest)):
        return False
    try:
        return math.isclose(float(found.replace(",", ".")), float(digest), rel_tol=1e-5)
    except ValueError:
        return False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
