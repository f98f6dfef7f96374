"""The run directory: one plan, one writer at a time, tables that are whole or absent.

Each finished arm and seed leaves a part (a folder that appears by one rename); the tables at the top are
the parts put together in a fixed order, so they do not depend on which part finished first.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from valueattr.results._tables import FACTS, GENERATIONS, MEASURES, STEPS, SUMMARY, read_as

if TYPE_CHECKING:
    import pandas as pd

TABLES = {
    "facts": FACTS,
    "generations": GENERATIONS,
    "measures": MEASURES,
    "steps": STEPS,
    "summary": SUMMARY,
}
PART_TABLES = ("facts", "generations", "measures", "steps")


def part_name(arm: str, seed: int) -> str:
    """The name of an arm's part in the run directory."""
    return f"{arm}-s{seed}"


class RunDirectoryError(Exception):
    """A run directory that cannot be used as asked; the message says why and what to do."""


class DirectoryTakenError(RunDirectoryError):
    """The directory belongs to something else than this run, or another process is writing to it."""


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Call `write` on a temporary neighbour of `path` and move it into place: whole or absent.

    Raises:
        RunDirectoryError: the disk is full; nothing is left behind.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
        temporary = Path(folder, path.name)
        try:
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise RunDirectoryError(
                    f"no space left on the disk while writing {path}: free some and start again; "
                    "finished arms are kept"
                ) from error
            raise


def _canonical(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, indent=2)


class RunDirectory:
    """A run's files. Opened to read by its path; `create` and `locked` are for the one process that writes."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / "plan.json").is_file():
            raise RunDirectoryError(f"{self.path} is not a run directory: it has no plan.json")

    @classmethod
    def create(cls, path: str | Path, plan: Mapping[str, Any], config: Mapping[str, Any]) -> "RunDirectory":
        """Start a run, or reopen the one that was started here with the same plan.

        Raises:
            DirectoryTakenError: the directory holds a run of another plan, or files that are no run.
        """
        path = Path(path)
        if (path / "plan.json").exists():
            run = cls(path)
            if run.plan_hash != hash_plan(plan):
                raise DirectoryTakenError(
                    f"{path} holds a run of another plan ({run.plan_hash[:12]}, this one is {hash_plan(plan)[:12]}): "
                    "choose another directory, or repeat what that run was started with (see its config.json)"
                )
            return run
        if path.exists() and any(path.iterdir()):
            raise DirectoryTakenError(f"{path} is not empty and holds no run: choose another directory")
        path.mkdir(parents=True, exist_ok=True)
        write_atomically(path / "config.json", lambda p: _write_text(p, _canonical(config)))
        sealed = {"plan": plan, "sha256": hash_plan(plan)}
        write_atomically(path / "plan.json", lambda p: _write_text(p, _canonical(sealed)))
        return cls(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for one writer.

        Raises:
            DirectoryTakenError: another process holds it.
        """
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DirectoryTakenError(
                    f"another process is running in {self.path}: wait for it, or choose another directory"
                ) from None
            yield

    @property
    def plan(self) -> dict[str, Any]:
        """The plan as it was sealed before the first step."""
        plan: dict[str, Any] = self._json("plan.json")["plan"]
        return plan

    @property
    def plan_hash(self) -> str:
        """The SHA-256 written when the plan was sealed."""
        digest: str = self._json("plan.json")["sha256"]
        return digest

    @property
    def plan_is_intact(self) -> bool:
        """Whether the plan still hashes to what was written before the first step."""
        return hash_plan(self.plan) == self.plan_hash

    @property
    def config(self) -> dict[str, Any]:
        """What the run was started with."""
        return self._json("config.json")

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, device, thread counts and where the time went."""
        return self._json("environment.json")

    @property
    def start_model(self) -> dict[str, Any]:
        """Where the start model lies, and the SHA-256 of its weights."""
        return self._json("start_model.json")

    @property
    def seeds(self) -> list[int]:
        """The seeds of which at least one arm is finished."""
        parts = (self.path / "parts").glob("*-s*")
        return sorted({int(part.name.rpartition("-s")[2]) for part in parts})

    def table(self, name: str) -> "pd.DataFrame":
        """One of the tables `facts`, `generations`, `measures`, `steps`, `summary`.

        Raises:
            RunDirectoryError: the run has not written it yet.
        """
        path = self.path / f"{name}.parquet"
        if not path.is_file():
            raise RunDirectoryError(
                f"{self.path} has no {name}.parquet yet: run the experiment to its end first"
            )
        frame: pd.DataFrame = read_as(TABLES[name], path).to_pandas()
        return frame

    def has_part(self, name: str) -> bool:
        """Whether this arm and seed is finished."""
        return (self.path / "parts" / name).is_dir()

    def write_part(self, name: str, tables: Mapping[str, pa.Table]) -> None:
        """Keep the tables of one finished arm and seed; they appear together or not at all."""
        target = self.path / "parts" / name
        target.parent.mkdir(exist_ok=True)

        def write(folder: Path) -> None:
            folder.mkdir()
            for table_name, table in tables.items():
                pq.write_table(table, folder / f"{table_name}.parquet", compression="zstd")
                with (folder / f"{table_name}.parquet").open("rb") as file:
                    os.fsync(file.fileno())

        _write_folder_atomically(target, write)

    def adopt(self, other: "RunDirectory", twin: str, name: str, experiment: str, arm: str) -> None:
        """Take over a finished part of another run, and its checkpoint, under a name of this run."""

        def renamed(table: pa.Table) -> pa.Table:
            for column, value in (("experiment", experiment), ("arm", arm)):
                if column in table.column_names:
                    i = table.column_names.index(column)
                    values = pa.array([value] * len(table)).cast(table.schema.field(i).type)
                    table = table.set_column(i, table.schema.field(i), values)
            return table

        files = sorted((other.path / "parts" / twin).glob("*.parquet"))
        self.write_part(name, {f.stem: renamed(read_as(TABLES[f.stem], f)) for f in files})
        if (checkpoint := other.path / "checkpoints" / twin).is_dir():
            shutil.copytree(checkpoint, self.path / "checkpoints" / name, dirs_exist_ok=True)

    def assemble(self, parts: list[str]) -> None:
        """Put the parts together, in the order given, into the tables at the top."""
        for name in PART_TABLES:
            files = [self.path / "parts" / part / f"{name}.parquet" for part in parts]
            tables = [read_as(TABLES[name], file) for file in files if file.is_file()]
            self.write_table(
                name, pa.concat_tables([TABLES[name].empty_table(), *tables]).unify_dictionaries()
            )

    def write_table(self, name: str, table: pa.Table) -> None:
        """Write one table at the top."""
        target = self.path / f"{name}.parquet"
        write_atomically(target, lambda p: pq.write_table(table.cast(TABLES[name]), p, compression="zstd"))

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write one JSON file at the top."""
        write_atomically(self.path / name, lambda p: _write_text(p, _canonical(value)))

    def _json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            value: dict[str, Any] = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise RunDirectoryError(f"{self.path} has no {name} yet") from None
        except ValueError as error:
            raise RunDirectoryError(f"{path} is not readable as JSON: {error}") from error
        return value


def hash_plan(plan: Mapping[str, Any]) -> str:
    """SHA-256 of the plan's canonical JSON."""
    return hashlib.sha256(_canonical(plan).encode()).hexdigest()


def _write_text(path: Path, text: str) -> None:
    path.write_text(text + "\n", "utf-8")


def _write_folder_atomically(target: Path, write: Callable[[Path], None]) -> None:
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".writing-"))
    try:
        write(temporary / target.name)
        (temporary / target.name).rename(target)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise RunDirectoryError(
                f"no space left on the disk while writing {target}: free some and start again"
            ) from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
