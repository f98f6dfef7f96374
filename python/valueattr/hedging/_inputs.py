"""Which files a scan reads, and which files of a folder it leaves out, and why."""

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

STANDARD_INPUT = Path("-")
LINES = (".jsonl", ".ndjson", ".json", ".txt")
SEPARATED = {".csv": ",", ".tsv": "\t"}
COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
TABLES = (".parquet", ".arrow")
# No file that gzip or Zstandard wrote is shorter, so that an empty one was cut off.
_SHORTEST_COMPRESSED = 9


class DumpError(ValueError):
    """An input that cannot be scanned; the message names the file, the row and what to do."""


class FolderError(DumpError):
    """A folder of which it is not clear what to read; excluding some of its files helps."""


@dataclass
class Inputs:
    """The files to read, in order, and those left out, each with the reason."""

    files: list[Path] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def find_inputs(inputs: Sequence[Path], exclude: Sequence[str]) -> Inputs:
    """The files among `inputs` and those of the folders among them, in order of name.

    Of a folder hidden files, files of no known format and links to folders are left out, and so is what matches a
    pattern of `exclude`: by its name, or by its path in the folder. Each file is read once.

    Raises:
        DumpError: an input is missing, of no known format, or no regular file, or a folder holds no dump.
        FolderError: a folder holds several formats, or something that cannot be read.
    """
    found = Inputs()
    seen: set[str] = set()
    for path in inputs:
        for file in _dumps(path, exclude, found.left_out):
            place = os.path.realpath(file)
            if place in seen:
                found.left_out.setdefault(shown(file), "read already")
            else:
                seen.add(place)
                found.files.append(file)
    return found


def suffix(path: Path) -> str:
    """What a file's name says of its format, less compression; "" if it is none of ours."""
    suffixes = [part.lower() for part in path.suffixes]
    compressible = (*LINES, *SEPARATED)
    if suffixes[-1:] and suffixes[-1] in COMPRESSED:
        return suffixes[-2] if suffixes[-2:-1] and suffixes[-2] in compressible else ""
    return suffixes[-1] if suffixes and suffixes[-1] in (*compressible, *TABLES) else ""


def shown(path: Path) -> str:
    """A path as text, also where its bytes are not UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _dumps(path: Path, exclude: Sequence[str], left_out: dict[str, str]) -> Iterator[Path]:
    if path == STANDARD_INPUT:
        yield path
    elif os.path.isdir(path):  # which is no error where the path cannot be
        yield from _dumps_inside(path, exclude, left_out)
    elif _is_excluded(path.name, str(path), exclude):
        left_out[shown(path)] = "excluded"
    else:
        _check(path, DumpError)
        yield path


def _dumps_inside(folder: Path, exclude: Sequence[str], left_out: dict[str, str]) -> list[Path]:
    def fail(error: OSError) -> None:
        raise FolderError(f"{shown(Path(error.filename))}: cannot be read: {error.strerror}")

    files: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=fail):
        for name in [*folders, *names]:
            path = Path(place, name)
            is_folder = name in folders
            if reason := _reason_against(path, folder, exclude, is_folder):
                left_out[shown(path)] = reason
                if is_folder:
                    folders.remove(name)
            elif not is_folder:
                _check(path, FolderError)
                files.append(path)
    formats = Counter(suffix(file).replace(".ndjson", ".jsonl") for file in files)
    if not formats:
        raise DumpError(f"{shown(folder)}: no file in it is a dump; known: {_known()}")
    if len(formats) > 1:
        counted = ", ".join(f"{number} {kind}" for kind, number in formats.most_common())
        raise FolderError(
            f"{shown(folder)}: it holds files of several formats ({counted}); exclude some, or give the files"
        )
    return sorted(files)


def _reason_against(path: Path, folder: Path, exclude: Sequence[str], is_folder: bool) -> str | None:
    if _is_excluded(path.name, path.relative_to(folder).as_posix(), exclude):
        return "excluded"
    if path.name.startswith("."):
        return "hidden"
    if is_folder:
        return "a link to a folder" if path.is_symlink() else None
    return None if suffix(path) else "of no known format"


def _is_excluded(name: str, path: str, exclude: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) or fnmatchcase(path, pattern) for pattern in exclude)


def _check(path: Path, error: type[DumpError]) -> None:
    """Whether there is a regular file of a known format, or a pipe with lines; all else may never end."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise error(f"{shown(path)}: there is no such file") from None
    except OSError as found:
        raise error(f"{shown(path)}: cannot be read: {found.strerror}") from None
    if not suffix(path):
        raise error(f"{shown(path)}: of no known format; known: {_known()}")
    is_pipe_of_lines = stat.S_ISFIFO(status.st_mode) and suffix(path) in LINES
    if not (stat.S_ISREG(status.st_mode) or is_pipe_of_lines):
        raise error(f"{shown(path)}: it is no regular file")
    is_compressed = path.suffix.lower() in COMPRESSED
    if is_compressed and not is_pipe_of_lines and status.st_size < _SHORTEST_COMPRESSED:
        raise error(f"{shown(path)}: cannot be read to its end: it was cut off after {status.st_size} bytes")


def _known() -> str:
    return ", ".join((*LINES, *SEPARATED, *TABLES)) + "; all but the last two also .gz and .zst"
