"""What each arm still holds of what the start model held: the verdicts of a run."""

import fcntl
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from valueattr.diagnosis import VERDICTS, Reading, RelearningError, kept_reading, verdicts
from valueattr.experiments._context import Context
from valueattr.experiments._records import Records
from valueattr.measures.battery import Rows
from valueattr.model import load_model
from valueattr.plan import Arm
from valueattr.results import VERDICTS as VERDICT_TABLE
from valueattr.results import RunDirectory


def record_start(run: RunDirectory, context: Context, arm: Arm, seed: int, records: Records) -> None:
    """Record what the start model holds."""
    evidence = _start_reading(run, context, arm, seed).evidence
    records.held(0, _measure_rows(context.split_of(seed), evidence))


def record_verdicts(
    run: RunDirectory, context: Context, arm: Arm, seed: int, folder: Path, records: Records
) -> None:
    """Record a verdict on each fact for the trained model in a folder."""
    before = _start_reading(run, context, arm, seed)
    inquiry = context.inquiry(arm, seed)
    load = partial(load_model, folder)
    try:
        after = inquiry.read(load, context.tokenizer, context.start_probes)
    except RelearningError:  # without it there is no P(holds), and every verdict is unsure
        after = inquiry.without_relearning().read(load, context.tokenizer, context.start_probes)
        after = Reading(after.evidence.assign(relearned=np.nan), after.said)
    calibration = context.calibration and context.calibration.by_readings_of(before.evidence)
    table = verdicts(before, after, calibration, records.last("forward_kl"))
    split_of = context.split_of(seed)
    records.verdicts = [
        {"split": split_of[str(row["fact"])], **row} for row in _plain_rows(table.reset_index())
    ]
    step = context.training.steps
    records.held(step, [*_measure_rows(split_of, after.evidence), *_verdict_rows(split_of, table)])


def _start_reading(run: RunDirectory, context: Context, arm: Arm, seed: int) -> Reading:
    """What the start model holds of a seed's facts and says to an arm's prompts, read once in a run."""
    file = run.path / "work" / f"start-{context.experiment.prompt_family_of(arm)}-s{seed}.parquet"
    read = partial(context.inquiry(arm, seed).read, context.load_start, context.tokenizer)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one arm reads, and others that need it wait
        return kept_reading(file, read)


def _measure_rows(split_of: Mapping[str, str], evidence: pd.DataFrame) -> Rows:
    """Of every fact the readings, and `relearning_gain`, what relearning adds to plain belief."""
    read = evidence[["few_shot", "relearned"]].assign(
        relearning_gain=evidence["relearned"] - evidence["belief"]
    )
    return _rows(split_of, read)


def _verdict_rows(split_of: Mapping[str, str], table: pd.DataFrame) -> Rows:
    """Of every fact P(holds), and whether it has each verdict."""
    read = pd.DataFrame({f"verdict/{v}": (table["verdict"] == v).astype(float) for v in VERDICTS})
    return _rows(split_of, read.assign(p_holds=table["p_holds"]))


def _rows(split_of: Mapping[str, str], read: pd.DataFrame) -> Rows:
    return [
        {"measure": measure, "split": split_of[str(fact)], "fact": fact, "value": float(value), "n": 1}
        for measure, values in read.items()
        for fact, value in values.items()
        if pd.notna(value)
    ]


def _plain_rows(table: pd.DataFrame) -> Rows:
    """Rows of plain values, None where one is missing."""
    columns = table[[name for name in VERDICT_TABLE.names if name in table]]
    rows: Rows = columns.astype(object).where(columns.notna(), None).to_dict("records")  # type: ignore[assignment]
    return rows
