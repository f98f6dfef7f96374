"""What an arm has recorded so far, as the rows of its tables."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from valueattr.experiments._context import Context
from valueattr.measures.battery import Measurement, Rows
from valueattr.measures.responses import scanned_rows
from valueattr.questions import SPLITS
from valueattr.results import FACTS, GENERATIONS, MEASURES, STEPS, VERDICTS, as_table, write_atomically

Report = Callable[[int], None]
"""Called with the step that has just ended."""


_FILE = "records.json"


class DamagedCheckpointError(ValueError):
    """A checkpoint that is not as it was written; the message names the file and what is wrong with it."""


class _Saved(BaseModel):
    """Records as they lie beside a checkpoint. files: SHA-256 of every file of the checkpoint, by name."""

    model_config = ConfigDict(extra="forbid")

    files: dict[str, str]
    steps: Rows
    generations: Rows
    measures: Rows


class Records:
    """Rows gathered so far; saved beside each checkpoint so that a resumed arm ends with the same tables."""

    def __init__(self) -> None:
        self.steps: Rows = []
        self.generations: Rows = []
        self.measures: Rows = []
        self.verdicts: Rows = []

    def measured(self, step: int, measurement: Measurement) -> None:
        """Add the rows of one measurement, in place of any earlier one at the same step."""
        self.measures = [row for row in self.measures if row["step"] != step]
        self.measures += [{"step": step, **row} for row in measurement.rows]
        self.generations += [{"step": step, **row} for row in scanned_rows(measurement.responses)]

    def held(self, step: int, rows: Rows) -> None:
        """Add the rows of what is held at a step that was measured."""
        self.measures += [{"step": step, **row} for row in rows]

    def logged(self, step: int, name: str, value: float) -> None:
        """Add one scalar of a step."""
        self.steps.append({"step": step, "name": name, "value": value})

    def last(self, name: str) -> float:
        """The scalar of this name that was logged last.

        Raises:
            KeyError: none was.
        """
        for row in reversed(self.steps):
            if row["name"] == name:
                return float(row["value"])
        raise KeyError(name)

    def save(self, checkpoint: Path) -> None:
        """Write all rows into a checkpoint whose other files are written; with them it is whole."""
        files = {file.name: file_hash(file) for file in sorted(checkpoint.iterdir()) if file.is_file()}
        write_atomically(
            checkpoint / _FILE, lambda p: _write_json(p, {"files": files, **self._along_training})
        )

    @property
    def _along_training(self) -> dict[str, Rows]:
        return {"steps": self.steps, "generations": self.generations, "measures": self.measures}

    @staticmethod
    def are_in(checkpoint: Path) -> bool:
        """Whether rows were written into a checkpoint."""
        return (checkpoint / _FILE).is_file()

    def load(self, checkpoint: Path) -> None:
        """Take the rows of an earlier process.

        Raises:
            DamagedCheckpointError: they or another file of the checkpoint are not as they were written.
        """
        try:
            read = _Saved.model_validate(json.loads((checkpoint / _FILE).read_text("utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            raise DamagedCheckpointError(
                f"{checkpoint / _FILE} cannot be read ({type(error).__name__})"
            ) from error
        for name, digest in read.files.items():
            if not (checkpoint / name).is_file():
                raise DamagedCheckpointError(f"{checkpoint / name} is missing")
            if file_hash(checkpoint / name) != digest:
                raise DamagedCheckpointError(f"{checkpoint / name} is not as it was written")
        self.steps, self.generations, self.measures = read.steps, read.generations, read.measures

    def tables(self, context: Context, arm: str, seed: int) -> Mapping[str, Any]:
        """The arm's part of every table."""
        keys = {"arm": arm, "seed": seed}
        tables = {
            "measures": as_table(
                MEASURES, [{"experiment": context.experiment.name, **keys, **row} for row in self.measures]
            ),
            "generations": as_table(GENERATIONS, [{**keys, **row} for row in self.generations]),
            "steps": as_table(STEPS, [{**keys, **row} for row in self.steps]),
            "verdicts": as_table(VERDICTS, [{**keys, **row} for row in self.verdicts]),
        }
        if context.experiment.arms[0].code == arm:
            tables["facts"] = as_table(FACTS, _fact_rows(context, seed))
        return tables


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
