"""Models that were trained here: one folder each in the user's cache, made once, and there whole or not at all.

A model is trained in a folder of its own and renamed when it is whole. While that lasts its maker holds a lock, which
goes with the process however it ends; so what lies there without a held lock was abandoned, and the next use removes it.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_UNFINISHED = ".training-"
_LOCK = ".lock"


def cache_directory() -> Path:
    """`$VALUEATTR_CACHE`, or `valueattr` in the user's cache folder."""
    if own := os.environ.get("VALUEATTR_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "valueattr")


def cached_folder(name: str, make: Callable[[Path], None], cache: Path) -> Path:
    """The folder of that name in the cache; `make` fills it first if there is none. Others wait for the one that makes it."""
    cache.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(cache)
    folder = cache / name
    if not folder.is_dir():
        with _lock(cache, name, wait=True):
            if not folder.is_dir():
                unfinished = cache / f"{_UNFINISHED}{name}"
                shutil.rmtree(unfinished, ignore_errors=True)  # of one that was killed while we waited
                try:
                    make(unfinished)
                    unfinished.rename(folder)
                finally:
                    shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _remove_abandoned(cache: Path) -> None:
    """Remove what interrupted makers left, and leave alone what others are making."""
    left = {path.name.removeprefix(_UNFINISHED) for path in cache.glob(f"{_UNFINISHED}*")}
    left |= {path.name.removesuffix(_LOCK) for path in cache.glob(f"*{_LOCK}")}
    for name in left:
        with _lock(cache, name, wait=False) as held:
            if held:
                shutil.rmtree(cache / f"{_UNFINISHED}{name}", ignore_errors=True)


@contextmanager
def _lock(cache: Path, name: str, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of a name and remove its file at the end; False if another holds it and we do not wait."""
    path = cache / f"{name}{_LOCK}"
    while True:
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            # The one before us may have removed the file that we waited on, and a third made it anew.
            if _is_still(path, file.fileno()):
                try:
                    yield True
                finally:
                    path.unlink(missing_ok=True)
                return


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
