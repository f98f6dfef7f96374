"""The cache of what models said: whole after kills, shared by processes, and never silently wrong."""

import multiprocessing
import random
import signal
import sqlite3
import tempfile
import time
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given

from tests.fuzz.mutations import damaged, edits
from valueattr.rating import RaterError
from valueattr.rating._readings import Reading, Readings


def key(i):
    return i.to_bytes(32, "big")


def reading(i):
    return Reading(f"verdict {i % 3}", {f"verdict {k}": -float(i % 7) - k / 3 for k in range(3)})


KEYS = [key(i) for i in range(200)]
EXPECTED = {key(i): reading(i) for i in range(200)}


def test_what_is_kept_is_known_to_the_last_digit(tmp_path):
    readings = Readings(tmp_path / "folder" / "file.sqlite")
    assert readings.known(KEYS) == {}
    readings.keep(dict(list(EXPECTED.items())[:150]))
    readings.keep(EXPECTED)
    assert Readings(tmp_path / "folder" / "file.sqlite").known([*KEYS, key(999)]) == EXPECTED


def test_what_is_known_is_not_replaced(tmp_path):
    readings = Readings(tmp_path / "file.sqlite")
    readings.keep({key(1): reading(1)})
    readings.keep({key(1): reading(2)})
    assert readings.known([key(1)]) == {key(1): reading(1)}


@cache
def whole():
    """A cache of 200 readings, as bytes."""
    with tempfile.TemporaryDirectory() as folder:
        Readings(Path(folder, "file.sqlite")).keep(EXPECTED)
        return Path(folder, "file.sqlite").read_bytes()


@given(edits)
@example([(0.08984375, 0, b"'\x80")])  # what SQLite said of it was not UTF-8
def test_a_damaged_file_is_an_error_that_says_what_to_delete_or_forgets(edited):
    """Nothing that was changed within a row comes back as a reading."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "file.sqlite")
        file.write_bytes(damaged(whole(), edited))
        found, said = {}, f"the cache {file}"
        try:
            found = Readings(file).known(KEYS)
            Readings(file).keep(EXPECTED)
        except RaterError as error:
            said = str(error)
    assert found.items() <= EXPECTED.items()
    assert said.startswith(f"the cache {file}")
    assert "\n" not in said


@pytest.mark.parametrize("content", [b"no database" * 99, whole()[:5000], whole()[:100] + bytes(5000)])
def test_what_is_no_whole_database_is_named(tmp_path, content):
    file = tmp_path / "file.sqlite"
    file.write_bytes(content)
    with pytest.raises(
        RaterError, match=r"the cache .*file\.sqlite is damaged \(.*\); delete it, and models"
    ):
        Readings(file).known(KEYS)
    assert file.read_bytes() == content
    file.unlink()
    assert Readings(file).known(KEYS) == {}


def test_a_bit_that_flipped_within_a_row_is_damage(tmp_path):
    file = tmp_path / "file.sqlite"
    content = whole()
    at = content.index(b"verdict 1")
    file.write_bytes(content[:at] + b"verdict 2" + content[at + 9 :])
    with pytest.raises(RaterError, match="a row does not match its checksum"):
        Readings(file).known(KEYS)


def test_a_cache_that_cannot_be_is_not_called_damaged(tmp_path):
    (tmp_path / "file").write_text("")
    for file in (tmp_path, tmp_path / "file" / "file.sqlite"):
        with pytest.raises(RaterError, match=f"the cache {file} cannot be used: "):
            Readings(file).known(KEYS)


def _keep_for_ever(file, first, started):
    started.set()
    i = first
    while True:
        Readings(file).keep({key(i + k): reading(i + k) for k in range(5)})
        i += 10


def _context():
    # Its server has imported what a process needs, so that the kills meet the writing and not the imports.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["valueattr.rating"])
    return context


@pytest.mark.parametrize("kills", [6, pytest.param(100, marks=pytest.mark.slow)])
def test_two_processes_that_write_and_are_killed_leave_whole_batches(tmp_path, kills):
    context, file, rng = _context(), tmp_path / "file.sqlite", random.Random(0)
    for kill in range(kills):
        started = [context.Event(), context.Event()]
        processes = [
            context.Process(target=_keep_for_ever, args=(file, kill * 10_000 + 5 * n, started[n]))
            for n in (0, 1)
        ]
        for process, event in zip(processes, started, strict=True):
            process.start()
            event.wait()
        time.sleep(rng.uniform(0.02, 0.2))
        for process in processes:
            process.kill()
            process.join()
            assert process.exitcode == -signal.SIGKILL
        keys = [key(kill * 10_000 + i) for i in range(5000)]
        known = Readings(file).known(keys)
        assert known == {k: reading(int.from_bytes(k, "big")) for k in known}
        batches = {int.from_bytes(k, "big") // 5 for k in known}
        assert len(known) == 5 * len(batches)
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert known


def _keep(file, first, count):
    for i in range(first, first + count):
        Readings(file).keep({key(i): reading(i)})


def test_processes_that_write_at_once_take_turns(tmp_path):
    context, file = _context(), tmp_path / "file.sqlite"
    processes = [context.Process(target=_keep, args=(file, 50 * n, 50)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert Readings(file).known(KEYS) == EXPECTED
