"""One arm and seed, from the start model to its part of the tables; resumable from the last checkpoint."""

import shutil
import time

from valueattr.experiments._context import Context
from valueattr.experiments._holding import record_start
from valueattr.experiments._records import Records, Report
from valueattr.experiments._training import checkpoints_of, train_arm
from valueattr.plan import Arm
from valueattr.results import RunDirectory, part_name

CRITIQUE_GATE = 0.3
"""By how much a critique must raise P(considerate) in the start model for learning from critiques to be testable."""


def run_arm(run: RunDirectory, context: Context, arm: Arm, seed: int, report: Report) -> None:
    """Train and measure one arm under one seed and leave its part in the run directory."""
    records = Records()
    started = time.perf_counter()
    testable = True
    if "critique" in arm.method:
        gate = context.critique_gate(arm, seed)
        records.logged(0, "critique_gate", gate)
        testable = gate >= CRITIQUE_GATE
    if not arm.is_trained:
        records.measured(0, context.measure(context.load_start(), arm, seed))
        record_start(run, context, arm, seed, records)
    elif testable:
        train_arm(run, context, arm, seed, records, report)
    records.logged(0, "time/arm", time.perf_counter() - started)
    run.write_part(part_name(arm.code, seed), records.tables(context, arm.code, seed))
    shutil.rmtree(checkpoints_of(run, arm, seed), ignore_errors=True)
