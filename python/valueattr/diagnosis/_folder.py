"""Where a diagnosis keeps what it has read and found."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from valueattr.diagnosis._saying import SAID_COLUMNS
from valueattr.diagnosis._verdict import Reading
from valueattr.results import DirectoryTakenError, RunDirectoryError, locked_folder, usable, write_atomically

_SEALED = "diagnosis.json"


def kept_reading(file: Path, read: Callable[[], Reading]) -> Reading:
    """The reading that was kept in a file, or one that is made now and kept there.

    Raises:
        RunDirectoryError: the file is damaged, or cannot be written.
    """
    if not file.is_file():
        made = read()
        columns = pd.concat([made.evidence, made.said], axis=1)
        write_atomically(file, columns.to_parquet)
    try:
        table = pd.read_parquet(file)
        return Reading(table.drop(columns=list(SAID_COLUMNS)), table[list(SAID_COLUMNS)])
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise RunDirectoryError(
            f"{file} is damaged ({type(error).__name__}): remove it, and the model is read anew"
        ) from None


class Folder:
    """Finished readings and tables; without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def reading(self, name: str, read: Callable[[], Reading]) -> Reading:
        """A reading that was finished before, or one that is made now."""
        if self._path is None:
            return read()
        return kept_reading(self._path / "readings" / f"{name}.parquet", read)

    def write(
        self,
        verdicts: pd.DataFrame,
        summary: pd.DataFrame,
        calibration: Mapping[str, Any],
        about: Mapping[str, Any],
    ) -> None:
        """Write what was found; each file appears whole."""
        if self._path is None:
            return
        for name, table in (("verdicts", verdicts), ("summary", summary)):
            write_atomically(self._path / f"{name}.parquet", partial(table.to_parquet, index=False))
        for name, value in (("calibration", calibration), ("about", about)):
            write_atomically(self._path / f"{name}.json", partial(_write_json, value))


@contextmanager
def kept(path: Path | None, sealed: Mapping[str, Any]) -> Iterator[Folder]:
    """The folder of a diagnosis, held for one writer. sealed: what it is of.

    Raises:
        DirectoryTakenError: it holds something else, or another process is at it.
        RunDirectoryError: it cannot be used.
    """
    if path is None:
        yield Folder(None)
        return
    digest = hashlib.sha256(json.dumps(sealed, sort_keys=True).encode()).hexdigest()
    with usable(path):
        if path.exists() and not path.is_dir():
            raise DirectoryTakenError(f"{path} is a file: choose another directory")
        if path.exists() and not (path / _SEALED).exists() and any(f.name != ".lock" for f in path.iterdir()):
            raise DirectoryTakenError(f"{path} is not empty and holds no diagnosis: choose another directory")
        path.mkdir(parents=True, exist_ok=True)
    with locked_folder(path):
        if not (path / _SEALED).exists():
            write_atomically(path / _SEALED, partial(_write_json, {"of": sealed, "sha256": digest}))
        elif _sealed_as(path / _SEALED) != digest:
            raise DirectoryTakenError(
                f"{path} holds a diagnosis of other models, facts or relearning: choose another directory"
            )
        yield Folder(path)


def _sealed_as(file: Path) -> str:
    try:
        digest = json.loads(file.read_text("utf-8"))["sha256"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise DirectoryTakenError(
            f"{file} is damaged ({type(error).__name__}): choose another directory, or remove this one"
        ) from None
    return str(digest)


def _write_json(value: Any, path: Path) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", "utf-8")
