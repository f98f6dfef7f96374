"""The run directory: one plan, one writer at a time, tables that are whole or absent.

Each finished arm and seed leaves a part (a folder that appears by one rename); the tables at the top are
the parts put together in a fixed order, so they do not depend on which part finished first.
"""

import fcntl
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from valueattr.outputs import OutputError, is_being_written, new_output, remove_abandoned
from valueattr.results._files import DamagedFileError, read_json
from valueattr.results._tables import (
    FACTS,
    GENERATIONS,
    MEASURES,
    STEPS,
    SUMMARY,
    VERDICTS,
    DamagedTableError,
    check_columns,
    read_as,
)

if TYPE_CHECKING:
    import pandas as pd

TABLES = {
    "facts": FACTS,
    "generations": GENERATIONS,
    "measures": MEASURES,
    "steps": STEPS,
    "summary": SUMMARY,
    "verdicts": VERDICTS,
}
PART_TABLES = ("facts", "generations", "measures", "steps", "verdicts")
_TABLES_ANEW = "run the experiment again, which puts its tables together from the finished arms"
_PART = re.compile(r"[^.].*-s(\d+)")


def part_name(arm: str, seed: int) -> str:
    """The name of an arm's part in the run directory."""
    return f"{arm}-s{seed}"


def start_of_seed(seed: int, starts: int) -> int:
    """The number of the start model that a seed begins with, of so many.

    Seeds take them in turn. Each round begins one further, since the topics take turns as well: so a start model does
    not always get the same topic.
    """
    return (seed + seed // starts) % starts


class RunDirectoryError(Exception):
    """A run directory that cannot be used as asked; the message says why and what to do."""


class DirectoryTakenError(RunDirectoryError):
    """The directory belongs to something else than this run, or another process is writing to it."""


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Call `write` on a place beside `path` and move what it wrote to `path`: whole or absent.

    For what is made anew from a run's parts, so that a file that is there is replaced.

    Raises:
        RunDirectoryError: the file cannot be written, or the disk is full; nothing is left behind.
    """
    with _written(path, overwrite=True) as place:
        write(place)


@contextmanager
def _written(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    try:
        with new_output(path, overwrite=overwrite) as place:
            yield place
    except OutputError as error:
        raise RunDirectoryError(f"{error}; finished arms are kept") from error


@contextmanager
def usable(path: Path) -> Iterator[None]:
    """What the file system says against a directory of results, as one error that names it.

    Raises:
        RunDirectoryError: as it says.
    """
    try:
        yield
    except OSError as error:
        raise RunDirectoryError(
            f"{path} cannot be used as a directory of results: {error.strerror}"
        ) from error


def _canonical(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, indent=2)


@contextmanager
def locked_folder(path: Path) -> Iterator[None]:
    """Hold a folder for one writer, and remove what killed ones left in it.

    Raises:
        DirectoryTakenError: another process holds it.
        RunDirectoryError: it cannot be used.
    """
    with usable(path):
        lock = (path / ".lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DirectoryTakenError(
                f"another process is running in {path}: wait for it, or choose another directory"
            ) from None
        for folder in (path, path / "parts"):
            if folder.is_dir():
                remove_abandoned(folder)
        yield


class RunDirectory:
    """A run's files. Opened to read by its path; `create` and `locked` are for the one process that writes."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with usable(self.path):
            if not (self.path / "plan.json").is_file():
                raise RunDirectoryError(f"{self.path} is not a run directory: it has no plan.json")

    @classmethod
    def create(cls, path: str | Path, plan: Mapping[str, Any], config: Mapping[str, Any]) -> "RunDirectory":
        """Start a run, or reopen the one that was started here with the same plan.

        Raises:
            DirectoryTakenError: the directory holds a run of another plan, or files that are no run.
            RunDirectoryError: the directory cannot be made or written to.
        """
        path = Path(path)
        with usable(path):
            if (path / "plan.json").exists():
                run = cls(path)
                run._check_plan(hash_plan(plan))
            else:
                if path.exists() and not path.is_dir():
                    raise DirectoryTakenError(f"{path} is a file: choose another directory")
                # One that was killed while it sealed the plan left only what it was writing.
                if path.exists() and any(not is_being_written(place) for place in path.iterdir()):
                    raise DirectoryTakenError(
                        f"{path} is not empty and holds no run: choose another directory"
                    )
                path.mkdir(parents=True, exist_ok=True)
                run = cls._seal(path, plan)
            if not (path / "config.json").exists() and not (path / "parts").exists():
                run.write_json("config.json", config)
        return run

    @classmethod
    def _seal(cls, path: Path, plan: Mapping[str, Any]) -> "RunDirectory":
        sealed = {"plan": plan, "sha256": hash_plan(plan)}
        write_atomically(path / "plan.json", lambda p: _write_text(p, _canonical(sealed)))
        return cls(path)

    def _check_plan(self, asked: str) -> None:
        if not self.plan_is_intact:
            raise DirectoryTakenError(
                f"{self.path / 'plan.json'} was changed after it was sealed (it hashes to {self.plan_hash[:12]}, "
                f"and was sealed as {self.sealed_hash[:12]}): put the sealed plan back, or choose another directory"
            )
        if self.plan_hash != asked:
            raise DirectoryTakenError(
                f"{self.path} holds a run of another plan ({self.plan_hash[:12]}, this one is {asked[:12]}): "
                "choose another directory, or repeat what that run was started with (see its config.json)"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for one writer.

        Raises:
            DirectoryTakenError: another process holds it.
        """
        with locked_folder(self.path):
            yield

    @property
    def controls(self) -> Path:
        """Where a run of a model of one's own keeps what its verdicts' error was measured on."""
        return self.path / "controls.parquet"

    @property
    def plan(self) -> dict[str, Any]:
        """The plan as it stands in plan.json; `plan_is_intact` says whether that is what was sealed."""
        plan: dict[str, Any] = self._json("plan.json")["plan"]
        return plan

    @property
    def plan_hash(self) -> str:
        """The SHA-256 of the plan as it stands in plan.json."""
        try:
            return hash_plan(self.plan)
        except RecursionError:
            raise RunDirectoryError(f"{self.path / 'plan.json'} is damaged: nested too deeply") from None

    @property
    def sealed_hash(self) -> str:
        """The SHA-256 that was written when the plan was sealed, before the first step."""
        digest: str = self._json("plan.json")["sha256"]
        return digest

    @property
    def plan_is_intact(self) -> bool:
        """Whether the plan still hashes to what was written before the first step."""
        return self.plan_hash == self.sealed_hash

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
        """Where the start model lies, the SHA-256 of its weights, and of the others that later seeds begin with."""
        return self._json("start_model.json")

    @property
    def starts(self) -> list[str]:
        """The SHA-256 of each start model."""
        return [self.start_model["sha256"], *self.start_model.get("others", [])]

    def start_of(self, seed: int) -> str:
        """The SHA-256 of the start model that a seed begins with."""
        return self.starts[start_of_seed(seed, len(self.starts))]

    @property
    def seeds(self) -> list[int]:
        """The seeds of which at least one arm is finished."""
        parts = (_PART.fullmatch(part.name) for part in (self.path / "parts").glob("*"))
        return sorted({int(part[1]) for part in parts if part})

    @property
    def seeds_in_tables(self) -> list[int]:
        """The seeds that the tables at the top hold.

        Raises:
            RunDirectoryError: as `table`, or they hold none.
        """
        seeds = sorted(int(seed) for seed in self.table("measures")["seed"].unique())
        if not seeds:
            raise RunDirectoryError(f"{self.path / 'measures.parquet'} holds no rows: {_TABLES_ANEW}")
        return seeds

    @property
    def subjects(self) -> dict[str, str]:
        """The subject of each fact; empty where a run was published without its facts.

        Raises:
            RunDirectoryError: as `table`.
        """
        if not self.has_table("facts"):
            return {}
        facts = self.table("facts")
        return dict(zip(facts["fact"].astype(str), facts["subject"].astype(str), strict=True))

    def table(self, name: str) -> "pd.DataFrame":
        """One of the tables `facts`, `generations`, `measures`, `steps`, `summary`, `verdicts`.

        Raises:
            RunDirectoryError: the run has not written it yet, or it is damaged.
        """
        path = self.path / f"{name}.parquet"
        if not self.has_table(name):
            raise RunDirectoryError(
                f"{self.path} has no {name}.parquet yet: run the experiment to its end first"
            )
        try:
            frame: pd.DataFrame = read_as(TABLES[name], path).to_pandas()
        except DamagedTableError as error:
            raise RunDirectoryError(f"{error}: {_TABLES_ANEW}") from error
        return frame

    def has_table(self, name: str) -> bool:
        """Whether the table is there; runs of earlier versions lack `verdicts`."""
        return (self.path / f"{name}.parquet").is_file()

    def has_part(self, name: str) -> bool:
        """Whether this arm and seed is finished."""
        return (self.path / "parts" / name).is_dir()

    def check_part(self, name: str, tables: Iterable[str]) -> None:
        """Look at the columns of a finished part's tables, not at all of their rows.

        Raises:
            RunDirectoryError: one of the tables is missing or damaged; the message says how the part is made anew.
        """
        with self._part(name):
            for table in tables:
                check_columns(TABLES[table], self.path / "parts" / name / f"{table}.parquet")

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        try:
            yield
        except DamagedTableError as error:
            raise RunDirectoryError(
                f"{error}: remove {self.path / 'parts' / name} and run the experiment again, which makes this arm anew"
            ) from error

    def write_part(self, name: str, tables: Mapping[str, pa.Table]) -> None:
        """Keep the tables of one finished arm and seed; they appear together or not at all."""
        with _written(self.path / "parts" / name) as folder:
            folder.mkdir()
            for table_name, table in tables.items():
                _write_table(table, folder / f"{table_name}.parquet")

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
        with other._part(twin):
            tables = {f.stem: renamed(read_as(TABLES[f.stem], f)) for f in files}
        # The part comes last, since with it the arm is finished.
        if (checkpoint := other.path / "checkpoints" / twin).is_dir():
            shutil.copytree(checkpoint, self.path / "checkpoints" / name, dirs_exist_ok=True)
        self.write_part(name, tables)

    def assemble(self, parts: list[str]) -> None:
        """Put the parts together, in the order given, into the tables at the top."""
        for name in PART_TABLES:
            tables = []
            for part in parts:
                file = self.path / "parts" / part / f"{name}.parquet"
                if file.is_file():
                    with self._part(part):
                        tables.append(read_as(TABLES[name], file))
            self.write_table(
                name, pa.concat_tables([TABLES[name].empty_table(), *tables]).unify_dictionaries()
            )

    def write_table(self, name: str, table: pa.Table) -> None:
        """Write one table at the top."""
        whole = table.cast(TABLES[name])
        write_atomically(self.path / f"{name}.parquet", lambda p: _write_table(whole, p))

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write one JSON file at the top."""
        write_atomically(self.path / name, lambda p: _write_text(p, _canonical(value)))

    def _json(self, name: str) -> dict[str, Any]:
        try:
            return read_json(self.path / name)
        except FileNotFoundError:
            raise RunDirectoryError(f"{self.path} has no {name} yet") from None
        except DamagedFileError as error:
            raise RunDirectoryError(str(error)) from error


def hash_plan(plan: Mapping[str, Any]) -> str:
    """SHA-256 of the plan's canonical JSON."""
    return hashlib.sha256(_canonical(plan).encode()).hexdigest()


def _write_text(path: Path, text: str) -> None:
    path.write_text(text + "\n", "utf-8")


def _write_table(table: pa.Table, path: Path) -> None:
    # With checksums a byte that changes on the disk is an error, and not another number.
    with path.open("wb") as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)
