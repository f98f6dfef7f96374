"""What models said of texts, kept in an SQLite file so that no text is read twice.

A transaction is there whole or not at all, however its process ends, and processes that write take turns. SQLite does
not see what changed within a row, so that each row has a checksum.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from valueattr.rating._judgement import RaterError

_TABLE = (
    "CREATE TABLE IF NOT EXISTS readings (key BLOB PRIMARY KEY, reading BLOB, checksum BLOB) WITHOUT ROWID"
)

# For another process to finish its transaction, which takes milliseconds.
_SECONDS = 60.0

# What may go wrong with a file that is whole.
_CIRCUMSTANCES = {
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY),
    *(sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM),
}


class Reading(NamedTuple):
    """A verdict, and the log probability of every verdict that there might have been, in nats."""

    verdict: str
    scores: Mapping[str, float]


class Readings:
    """The readings in a file, by keys of bytes. The file and its folder are made where there are none."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def known(self, keys: Iterable[bytes]) -> dict[bytes, Reading]:
        """The readings of those of the keys that have one.

        Raises:
            RaterError: the file is damaged, or cannot be read.
        """
        found = {}
        with self._opened() as connection:
            for key in keys:
                row = connection.execute(
                    "SELECT reading, checksum FROM readings WHERE key = ?", (key,)
                ).fetchone()
                if row:
                    found[key] = _checked(key, *row)
        return found

    def keep(self, readings: Mapping[bytes, Reading]) -> None:
        """Add readings, all or none.

        Raises:
            RaterError: the file is damaged, or cannot be written.
        """
        with self._opened() as connection:
            rows = [
                (key, said := json.dumps(reading).encode(), _checksum(key, said))
                for key, reading in readings.items()
            ]
            connection.executemany("INSERT OR IGNORE INTO readings VALUES (?, ?, ?)", rows)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """A connection whose transaction is committed at the end."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._file, timeout=_SECONDS)) as connection, connection:
                connection.execute(_TABLE)
                yield connection
        except OSError as error:
            raise RaterError(f"the cache {self._file} cannot be used: {error.strerror}") from error
        except (sqlite3.Error, UnicodeDecodeError) as error:  # what SQLite says may quote what is damaged
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _CIRCUMSTANCES:
                raise RaterError(f"the cache {self._file} cannot be used: {error}") from error
            raise RaterError(
                f"the cache {self._file} is damaged ({error}); delete it, and models are asked anew"
            ) from error


def _checked(key: bytes, reading: object, checksum: object) -> Reading:
    if not isinstance(reading, bytes) or checksum != _checksum(key, reading):
        raise sqlite3.DatabaseError("a row does not match its checksum")
    return Reading(*json.loads(reading))


def _checksum(key: bytes, reading: bytes) -> bytes:
    return hashlib.sha256(key + reading).digest()
