"""Writing what people keep: a file or folder appears whole or not at all, and never in the place of an input or of work."""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_WRITING = ".writing-"


class OutputError(ValueError):
    """An output that cannot be written; the message names its path and what to do."""


class OutputExistsError(OutputError):
    """The output is there already, and was not to be written over."""


@contextmanager
def new_output(path: str | Path, *, inputs: Iterable[Path] = (), overwrite: bool = False) -> Iterator[Path]:
    """A place beside `path` to write a file or a folder to. It moves to `path` when the block ends without an error.

    Two writers of one path do not meet: the first to finish has it, and the other one fails. What writers that were
    killed left beside it is removed.

    inputs: what the output is made of, which it never replaces.
    overwrite: whether a file or folder at `path` is replaced.

    Raises:
        OutputExistsError: something is at `path`, before or after the block.
        OutputError: `path` is an input, no regular file or folder, or cannot be written, or the disk is full.
    """
    shown, path = path, Path(os.path.realpath(path))
    try:
        _check(shown, path, inputs, overwrite)
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path.parent, _prefix(path))
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=_prefix(path)))
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
    except FileExistsError:
        raise OutputError(f"{shown} cannot be written: {path.parent} is no folder") from None
    except OSError as error:
        raise OutputError(f"{shown} cannot be written: {error.strerror}") from error
    temporary = folder / path.name
    try:
        yield temporary
        _sync(temporary)
        _move(temporary, path, overwrite)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            raise OutputExistsError(f"{shown} was written by another process in the meantime") from error
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise OutputError(f"no space left on the disk for {shown}; free some and start again") from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def is_being_written(path: Path) -> bool:
    """Whether a writer, or one that was killed, keeps there what is not whole."""
    return path.name.startswith(_WRITING)


def _check(shown: str | Path, path: Path, inputs: Iterable[Path], overwrite: bool) -> None:
    if path.is_symlink():  # after `realpath`, so that it leads to itself
        raise OutputError(f"{shown} is a link to itself; choose another place for the output")
    if not path.exists():
        return
    for given in inputs:
        if given.exists() and path.samefile(given):
            raise OutputError(f"{shown} is an input; choose another place for the output")
        if path in given.resolve().parents:
            raise OutputError(f"{shown} holds an input, {given}; choose another place for the output")
    if not (path.is_file() or path.is_dir()):
        raise OutputError(f"{shown} is neither a file nor a folder; choose another place for the output")
    if not overwrite:
        raise OutputExistsError(f"{shown} exists; choose another place for the output, or remove it")


def _prefix(path: Path) -> str:
    return f"{_WRITING}{path.name}-"


def remove_abandoned(folder: Path, prefix: str = _WRITING) -> None:
    """Remove what killed writers left in a folder. A writer holds a lock on its place, so that one without was killed."""
    for place in folder.iterdir():
        if not place.name.startswith(prefix) or not place.is_dir():
            continue
        with suppress(OSError):  # somebody else may be removing it
            lock = os.open(place, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(place)
            finally:
                os.close(lock)


def _sync(path: Path) -> None:
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            with file.open("rb") as written:
                os.fsync(written.fileno())


def _move(temporary: Path, path: Path, overwrite: bool) -> None:
    """One step of the file system, but for a folder that replaces another one."""
    if overwrite:
        if path.is_dir():
            path.rename(temporary.with_name("replaced"))
        temporary.replace(path)
    elif temporary.is_dir():
        temporary.rename(path)  # fails where there is anything but an empty folder
    else:
        os.link(temporary, path)  # fails where there is a file, which renaming would replace
