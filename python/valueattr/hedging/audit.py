"""The scanner's error on one's own responses: a sheet to be labelled by hand, and the shares corrected by it.

    sheet = audit_sheet(responses, "text", by=["arm"])     # a person fills in its `label` column with 0 and 1
    corrected = corrected_shares(responses, "text", sheet)  # what the scanner flags, and what is true

The sheet is stratified on the scanner's flag and does not show it, so that the labels are blind.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from valueattr.hedging import HEDGES, KINDS, HedgeScanner
from valueattr.results import RunDirectory
from valueattr.stats import TooFewClustersError, audit_sample, corrected_prevalence, raw_prevalence
from valueattr.tables import TableError, read_rows, read_table

ANY = "any"
"""Any kind that hedges."""

_SHEET = ("row", "digest", "kind", "text", "label")


class AuditError(ValueError):
    """Responses or a sheet that cannot be used; the message names the file or line and what to do."""


def read_responses(path: str | Path) -> pd.DataFrame:
    """Responses from a .jsonl or .parquet file, or the evaluations of a run directory at each arm's last step.

    Raises:
        AuditError: the file is missing, broken, or of another type.
    """
    path = Path(path)
    if path.is_dir():
        rows = RunDirectory(path).table("generations")
        rows = rows[rows["phase"] == "evaluation"]
        last = rows.groupby("arm", observed=True)["step"].transform("max")
        return rows[rows["step"] == last].drop(columns=["advantages", "reward"]).reset_index(drop=True)
    try:
        match path.suffix:
            case ".jsonl":
                # By rows: a field of a dump may hold values of several types.
                return pd.DataFrame([row for _, row in read_rows(path)])
            case ".parquet":
                table: pd.DataFrame = read_table(path).to_pandas()
                return table
    except TableError as error:
        raise AuditError(str(error)) from error
    raise AuditError(f"{path}: expected a .jsonl or .parquet file, or a run directory")


def read_sheet(path: str | Path) -> pd.DataFrame:
    """A sheet that `audit_sheet` made and a person labelled, from a CSV file.

    Raises:
        AuditError: the file is missing or not a CSV file.
    """
    try:
        return pd.read_csv(path, dtype={"label": str, "digest": str}, keep_default_na=False)
    except FileNotFoundError:
        raise AuditError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise AuditError(f"{path}: {error}") from error


def audit_sheet(
    responses: pd.DataFrame,
    field: str,
    by: Sequence[str] = (),
    kind: str = ANY,
    per_stratum: int = 50,
    seed: int = 0,
) -> pd.DataFrame:
    """The sheet: per group of `by`, up to `per_stratum` responses that the scanner flags and as many that it does not.

    Columns: `row` of the responses, `digest` of its text, `kind`, those of `by`, `text`, and `label`, to be filled in: 1
    where the text holds such a phrase of the speaker's own, else 0. The order is random.

    Raises:
        AuditError: no such field or kind, or a text that is missing.
    """
    texts, flags = _scanned(responses, field, kind)
    groups = _groups(responses, by)
    rows = np.concatenate([own[audit_sample(flags[own], per_stratum, seed)] for own in groups.values()])
    np.random.default_rng(seed).shuffle(rows)
    return pd.DataFrame(
        {
            "row": rows,
            "digest": [_digest(texts[row]) for row in rows],
            "kind": kind,
            **{name: responses[name].to_numpy()[rows] for name in by},
            "text": [texts[row] for row in rows],
            "label": "",
        }
    )


def corrected_shares(responses: pd.DataFrame, field: str, sheet: pd.DataFrame) -> pd.DataFrame:
    """Per group of the sheet, the share of responses that the scanner flags and the share corrected by the labels.

    Columns: those of the groups; `n` responses, `audited`; `raw`, `raw_low`, `raw_high` (Wilson); `corrected`,
    `low`, `high` (prediction-powered): 95% intervals.

    Raises:
        AuditError: a label is not 0 or 1, the sheet is of other responses, or a group has too few labels.
    """
    if missing := [name for name in _SHEET if name not in sheet.columns]:
        raise AuditError(f"the sheet lacks the columns {missing}; export it anew")
    by = [name for name in sheet.columns if name not in _SHEET]
    texts, flags = _scanned(responses, field, str(sheet["kind"].iloc[0]))
    labels = _labels(sheet)
    _check_same_texts(sheet, texts)
    rows = []
    for group, own in _groups(responses, by).items():
        place = {int(row): i for i, row in enumerate(own)}
        mine = [i for i, row in enumerate(sheet["row"]) if int(row) in place]
        try:
            corrected = corrected_prevalence(
                flags[own], [place[int(sheet["row"].iloc[i])] for i in mine], labels[mine]
            )
        except TooFewClustersError as error:
            raise AuditError(f"{dict(zip(by, group, strict=True)) or 'the responses'}: {error}") from None
        raw = raw_prevalence(flags[own])
        rows.append(
            {
                **dict(zip(by, group, strict=True)),
                "n": len(own),
                "audited": len(mine),
                "raw": raw.estimate,
                "raw_low": raw.low,
                "raw_high": raw.high,
                "corrected": corrected.estimate,
                "low": corrected.low,
                "high": corrected.high,
            }
        )
    return pd.DataFrame(rows)


def _scanned(responses: pd.DataFrame, field: str, kind: str) -> tuple[list[str], NDArray[np.bool_]]:
    """The texts, and whether the scanner flags each."""
    if kind != ANY and kind not in KINDS:
        raise AuditError(f"unknown kind {kind!r}; known: {ANY}, {', '.join(KINDS)}")
    if field not in responses.columns:
        raise AuditError(f"no field {field!r}; there are {', '.join(map(str, responses.columns))}")
    texts = responses[field].tolist()
    if (bad := next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)) is not None:
        raise AuditError(f"row {bad}: {field!r} is {texts[bad]!r}, expected a text")
    counts = HedgeScanner().scan(texts)
    kinds = HEDGES if kind == ANY else (kind,)
    return texts, np.any([counts.column(name).to_numpy() > 0 for name in kinds], axis=0)


def _groups(responses: pd.DataFrame, by: Sequence[str]) -> dict[tuple[object, ...], NDArray[np.intp]]:
    if missing := [name for name in by if name not in responses.columns]:
        raise AuditError(f"no field {missing}; there are {', '.join(map(str, responses.columns))}")
    if not len(responses):
        raise AuditError("there are no responses")
    if not by:
        return {(): np.arange(len(responses))}
    keys = responses[list(by)].astype(object).itertuples(index=False, name=None)
    groups: dict[tuple[object, ...], list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    return {key: np.array(rows) for key, rows in groups.items()}


def _labels(sheet: pd.DataFrame) -> NDArray[np.float64]:
    values = sheet["label"].astype(str).str.strip().str.removesuffix(".0")
    bad = [line for line, value in enumerate(values, start=2) if value not in ("0", "1")]
    if bad:
        listed = ", ".join(map(str, bad[:10])) + (" ..." if len(bad) > 10 else "")
        raise AuditError(f"{len(bad)} label(s) of the sheet are not 0 or 1: line(s) {listed}")
    return values.to_numpy(dtype=np.float64)


def _check_same_texts(sheet: pd.DataFrame, texts: Sequence[str]) -> None:
    for line, (row, digest) in enumerate(zip(sheet["row"], sheet["digest"], strict=True), start=2):
        if not 0 <= int(row) < len(texts) or _digest(texts[int(row)]) != digest:
            raise AuditError(f"line {line} of the sheet is of another text than row {row} of the responses")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
