"""What an arm has recorded so far, as the rows of its tables."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from valueattr.experiments._context import Context
from valueattr.measures.battery import Measurement, Rows
from valueattr.measures.responses import scanned_rows
from valueattr.questions import SPLITS
from valueattr.results import FACTS, GENERATIONS, MEASURES, STEPS, as_table, write_atomically

Report = Callable[[int], None]
"""Called with the step that has just ended."""


class Records:
    """Rows gathered so far; saved beside each checkpoint so that a resumed arm ends with the same tables."""

    def __init__(self) -> None:
        self.steps: Rows = []
        self.generations: Rows = []
        self.measures: Rows = []

    def measured(self, step: int, measurement: Measurement) -> None:
        """Add the rows of one measurement, in place of any earlier one at the same step."""
        self.measures = [row for row in self.measures if row["step"] != step]
        self.measures += [{"step": step, **row} for row in measurement.rows]
        self.generations += [{"step": step, **row} for row in scanned_rows(measurement.responses)]

    def logged(self, step: int, name: str, value: float) -> None:
        """Add one scalar of a step."""
        self.steps.append({"step": step, "name": name, "value": value})

    def save(self, path: Path) -> None:
        """Write all rows as JSON."""
        write_atomically(path, lambda p: _write_json(p, vars(self)))

    def load(self, path: Path) -> None:
        """Take the rows of an earlier process."""
        for name, rows in json.loads(path.read_text("utf-8")).items():
            setattr(self, name, rows)

    def tables(self, context: Context, arm: str, seed: int) -> Mapping[str, Any]:
        """The arm's part of every table."""
        keys = {"arm": arm, "seed": seed}
        tables = {
            "measures": as_table(
                MEASURES, [{"experiment": context.experiment.name, **keys, **row} for row in self.measures]
            ),
            "generations": as_table(GENERATIONS, [{**keys, **row} for row in self.generations]),
            "steps": as_table(STEPS, [{**keys, **row} for row in self.steps]),
        }
        if context.experiment.arms[0].code == arm:
            tables["facts"] = as_table(FACTS, _fact_rows(context, seed))
        return tables


def _fact_rows(context: Context, seed: int) -> Rows:
    splits = context.splits(seed)
    split = {question.id: name for name in SPLITS for question in splits[name]}
    return [
        {
            "seed": seed,
            "fact": question.id,
            "subject": question.subject,
            "topic": question.topic,
            "relation": question.relation,
            "object": question.answer,
            "taught": question.held,
            "exposure": question.exposure,
            "split": split.get(question.id),
        }
        for question in context.questions
    ]


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), "utf-8")
