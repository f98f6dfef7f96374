"""One arm and seed, from the start model to its part of the tables; resumable from the last checkpoint."""

import gc
import shutil
import time

from valueattr.experiments._context import Context
from valueattr.experiments._holding import record_start, record_verdicts
from valueattr.experiments._records import Records, Report
from valueattr.experiments._training import checkpoints_of, final_model_of, train_arm
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
        gc.collect()  # the trainer holds itself, and with it the memory that relearning needs
        trained = time.perf_counter()
        record_verdicts(run, context, arm, seed, final_model_of(run, arm, seed), records)
        records.logged(context.training.steps, "time/verdicts", time.perf_counter() - trained)
    records.logged(0, "time/arm", time.perf_counter() - started)
    run.write_part(part_name(arm.code, seed), records.tables(context, arm.code, seed))
    shutil.rmtree(checkpoints_of(run, arm, seed), ignore_errors=True)
