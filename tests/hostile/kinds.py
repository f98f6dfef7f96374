"""Kinds of hostile input: how each is made of a clean one, and what every command and reader has to make of it."""

import gzip
import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from safetensors.numpy import save_file

NAME = "hostile"
"""What a hostile input is called where its name is not what is hostile about it."""


@dataclass(frozen=True)
class Given:
    """A clean input, `source`, and an empty `folder` to make a hostile one in.

    rows: of an input of rows, those that it holds; `field` is what is read of them.
    """

    folder: Path
    source: Path
    rows: Sequence[dict[str, Any]] = ()
    field: str = ""


@dataclass(frozen=True)
class Meaning:
    """What has to come of an input: the same as of the clean one, an error that names it, or, for a reason, either.

    In all cases nothing else: no traceback, no signal, no change to what is there.
    """

    says: str
    why: str = ""


SAME = Meaning("the same")
REFUSED = Meaning("refused")


def refused_by(why: str) -> Meaning:
    """Refused, by something else than the name of the file."""
    return Meaning("refused", why)


def either(why: str) -> Meaning:
    return Meaning("either", why)


@dataclass(frozen=True)
class Kind:
    """A kind of hostile input. `make` gives a path, or a word for an option that takes none."""

    name: str
    make: Callable[[Given], Path | str]
    meaning: Meaning = REFUSED


# Rows as bytes.


def jsonl(rows: Sequence[dict[str, Any]], *, end: str = "\n", escaped: bool = False) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=escaped) + end for row in rows).encode()


def separated(rows: Sequence[dict[str, Any]], separator: str = ",", end: str = "\n") -> bytes:
    def line(cells):
        return separator.join('"' + str(cell).replace('"', '""') + '"' for cell in cells) + end

    return (line(rows[0]) + "".join(line(row.values()) for row in rows)).encode()


def zstd(content: bytes) -> bytes:
    return pa.Codec("zstd").compress(content).to_pybytes()


BOM = b"\xef\xbb\xbf"
DEEP = b"[" * 80_000 + b"]" * 80_000


def of(suffix: str, content: Callable[[Given], bytes]) -> Callable[[Given], Path]:
    """Makes a file of this suffix with this content."""

    def make(given):
        path = given.folder / f"{NAME}{suffix}"
        path.write_bytes(content(given))
        return path

    return make


def lines(name: str, change: Callable[[bytes], bytes], meaning: Meaning = REFUSED, suffix=".jsonl") -> Kind:
    """The rows as JSON lines, with a change to the bytes."""
    return Kind(name, of(suffix, lambda given: change(jsonl(given.rows))), meaning)


def _utf16(content: bytes) -> bytes:
    return content.decode().encode("utf-16")


NOTHING = either("a scan of nothing counts nothing; what needs rows refuses it")

JSON_LINES = (
    lines("a byte-order mark first", lambda data: BOM + data, SAME),
    lines("lines that end in CR LF", lambda data: data.replace(b"\n", b"\r\n"), SAME),
    lines("a last line without its end", lambda data: data[:-1], SAME),
    lines("blank lines at the end", lambda data: data + b"\n \n\n", SAME),
    lines("spaces around each line", lambda data: data.replace(b"\n", b" \n "), SAME),
    Kind("characters written as escapes", of(".jsonl", lambda g: jsonl(g.rows, escaped=True)), SAME),
    Kind(
        "fields in another order",
        of(".jsonl", lambda g: jsonl([dict(reversed(row.items())) for row in g.rows])),
        SAME,
    ),
    Kind(
        "a field more", of(".jsonl", lambda g: jsonl([{**row, "mine": {"a": [1]}} for row in g.rows])), SAME
    ),
    lines("the name .ndjson", lambda data: data, SAME, ".ndjson"),
    lines("compressed by gzip", lambda data: gzip.compress(data, mtime=0), SAME, ".jsonl.gz"),
    lines(
        "two parts that gzip compressed",
        lambda data: (
            gzip.compress(data[: len(data) // 2], mtime=0) + gzip.compress(data[len(data) // 2 :], mtime=0)
        ),
        SAME,
        ".jsonl.gz",
    ),
    lines("compressed by Zstandard", zstd, SAME, ".jsonl.zst"),
    lines("an empty file", lambda data: b"", NOTHING),
    lines("blank lines alone", lambda data: b"\n \n\r\n", NOTHING),
    lines("a line cut in the middle", lambda data: data[:-9] + b"\n"),
    lines("a file cut in the middle of a character", lambda data: data[:-3] + b"\xf0\x9f"),
    lines("lines that end in CR alone", lambda data: data.replace(b"\n", b"\r")),
    lines("all rows in one line", lambda data: data.replace(b"\n", b" ")),
    lines("UTF-16", _utf16),
    lines("UTF-32", lambda data: data.decode().encode("utf-32")),
    lines("NUL bytes", lambda data: data.replace(b"\n", b"\0\n")),
    lines("a file of NUL bytes", lambda data: bytes(len(data))),
    lines("single quotation marks, as Python prints", lambda data: data.replace(b'"', b"'")),
    lines("a comma after the last field", lambda data: data.replace(b"}\n", b",}\n")),
    lines("something after the object", lambda data: data.replace(b"}\n", b"} x\n")),
    lines("a line that is a list", lambda data: data + b"[1]\n"),
    lines("a line that is a number", lambda data: data + b"1\n"),
    lines("a line that is null", lambda data: data + b"null\n"),
    lines("an object within a list", lambda data: data + b"[{}]\n"),
    lines("a line nested 80,000 deep", lambda data: data + DEEP + b"\n"),
    lines("80,000 objects that do not close", lambda data: data + b'{"a":' * 80_000),
    lines("gzip cut at its end", lambda data: gzip.compress(data, mtime=0)[:-9], suffix=".jsonl.gz"),
    lines("gzip cut at its beginning", lambda data: gzip.compress(data, mtime=0)[:4], suffix=".jsonl.gz"),
    lines(
        "gzip with a wrong checksum",
        lambda data: gzip.compress(data, mtime=0)[:-8] + b"12345678",
        suffix=".jsonl.gz",
    ),
    lines("Zstandard cut at its end", lambda data: zstd(data)[:-5], suffix=".jsonl.zst"),
    lines("Zstandard that is none", lambda data: b"\x28\xb5\x2f\xfd" + data, suffix=".jsonl.zst"),
    lines("an empty file that is called compressed", lambda data: b"", suffix=".jsonl.gz"),
    Kind("a pickle", of(".pkl", lambda g: pickle.dumps(g.rows))),
    Kind("a pickle that is called .jsonl", of(".jsonl", lambda g: pickle.dumps(g.rows))),
    Kind("a Parquet file that is called .jsonl", of(".jsonl", lambda g: b"PAR1" + bytes(99) + b"PAR1")),
)

JSON_ARRAYS = (
    Kind("one array", of(".json", lambda g: json.dumps(g.rows).encode()), SAME),
    Kind("an array over several lines", of(".json", lambda g: json.dumps(g.rows, indent=2).encode()), SAME),
    Kind(
        "an array after a byte-order mark",
        of(".json", lambda g: BOM + b"\n" + json.dumps(g.rows).encode()),
        SAME,
    ),
    Kind("lines in a .json file", of(".json", lambda g: jsonl(g.rows)), SAME),
    Kind("an array that does not close", of(".json", lambda g: json.dumps(g.rows).encode()[:-1])),
    Kind("something after an array", of(".json", lambda g: json.dumps(g.rows).encode() + b"[]")),
    Kind("an array of numbers", of(".json", lambda g: b"[1, 2]")),
    Kind("an array nested 80,000 deep", of(".json", lambda g: DEEP)),
    Kind("80,000 brackets that do not close", of(".json", lambda g: b"[" * 80_000)),
    Kind("an empty array", of(".json", lambda g: b"[]"), NOTHING),
)


def cells(name: str, change: Callable[[bytes], bytes], meaning: Meaning = REFUSED, suffix=".csv") -> Kind:
    return Kind(name, of(suffix, lambda given: change(separated(given.rows))), meaning)


SEPARATED_VALUES = (
    cells("CSV", lambda data: data, SAME),
    Kind("TSV", of(".tsv", lambda g: separated(g.rows, "\t")), SAME),
    cells("CSV after a byte-order mark", lambda data: BOM + data, SAME),
    Kind("CSV with lines that end in CR LF", of(".csv", lambda g: separated(g.rows, end="\r\n")), SAME),
    Kind("CSV with lines that end in CR alone", of(".csv", lambda g: separated(g.rows, end="\r")), SAME),
    cells("CSV without its last end of a line", lambda data: data[:-1], SAME),
    cells("CSV compressed by gzip", lambda data: gzip.compress(data, mtime=0), SAME, ".csv.gz"),
    Kind(
        "columns in another order",
        of(".csv", lambda g: separated([dict(reversed(row.items())) for row in g.rows])),
        SAME,
    ),
    Kind("a column more", of(".csv", lambda g: separated([{"mine": "=1+1", **row} for row in g.rows])), SAME),
    cells("an empty CSV file", lambda data: b"", NOTHING),
    cells("CSV of a header alone", lambda data: data[: data.index(b"\n") + 1], NOTHING),
    cells("a quotation mark that is not closed", lambda data: data[:-2]),
    cells("a line of one cell more", lambda data: data[:-1] + b',"x"\n'),
    cells("a line of one cell less", lambda data: data + b'"x"\n'),
    cells("cells separated by semicolons", lambda data: data.replace(b'","', b'";"')),
    cells("CSV that is not UTF-8", lambda data: data[:-2] + b'\xff"\n'),
    cells("CSV in UTF-16", _utf16),
    Kind("a column that is missing", of(".csv", lambda g: separated([{"x": 1} for _ in g.rows]))),
    cells(
        "a column that is there twice",
        lambda data: b"\n".join(line + b"," + line for line in data.splitlines()),
    ),
    cells("a cell of NUL bytes", lambda data: data[:-2] + b'\0"\n', either("NUL is a character")),
)


def columns(
    name: str, change: Callable[[pa.Table, str], pa.Table], meaning: Meaning = REFUSED, suffix=".parquet"
) -> Kind:
    """The rows as a table with a change to it."""

    def make(given):
        table = change(pa.Table.from_pylist(list(given.rows)), given.field)
        path = given.folder / f"{NAME}{suffix}"
        if suffix == ".parquet":
            pq.write_table(table, path, row_group_size=5)
        else:
            new = pa.ipc.new_file if "file" in name else pa.ipc.new_stream
            with new(path, table.schema) as writer:
                writer.write_table(table, max_chunksize=5)
        return path

    return Kind(name, make, meaning)


def _cast(kind):
    return lambda table, field: _replaced(table, field, table[field].cast(kind))


def _replaced(table, field, values):
    return table.set_column(table.column_names.index(field), field, values)


def _constant(value):
    return lambda table, field: _replaced(table, field, pa.array([value] * len(table)))


def _not_utf8(table, field):
    texts = table[field].combine_chunks()
    content = texts.buffers()[2].to_pybytes()
    broken = pa.py_buffer(b"\xff" + content[1:])
    return _replaced(
        table, field, pa.Array.from_buffers(pa.string(), len(texts), [None, texts.buffers()[1], broken])
    )


def _damaged_table(
    name: str, change: Callable[[bytes], bytes], meaning: Meaning = REFUSED, suffix=".parquet"
) -> Kind:
    whole = columns("file", lambda table, _: table, suffix=suffix).make

    def make(given):
        path = whole(given)
        path.write_bytes(change(path.read_bytes()))
        return path

    return Kind(name, make, meaning)


PARQUET_AND_ARROW = (
    columns("Parquet", lambda table, _: table, SAME),
    columns("large strings", _cast(pa.large_string()), SAME),
    columns("string views", _cast(pa.string_view()), SAME),
    columns("a dictionary of strings", lambda t, f: _replaced(t, f, t[f].dictionary_encode()), SAME),
    columns("an Arrow file", lambda table, _: table, SAME, ".arrow"),
    columns("an Arrow stream", lambda table, _: table, SAME, ".arrow"),
    columns("an Arrow file of string views", _cast(pa.string_view()), SAME, ".arrow"),
    columns("columns of Parquet in another order", lambda t, _: t.select(t.column_names[::-1]), SAME),
    columns("no rows", lambda table, _: table.slice(0, 0), NOTHING),
    columns("lists in place of texts", _constant(["a"])),
    columns("objects in place of texts", _constant({"a": "b"})),
    columns("bytes in place of texts", lambda t, f: _replaced(t, f, t[f].cast(pa.binary()))),
    columns("nulls without a type", lambda t, f: _replaced(t, f, pa.nulls(len(t)))),
    columns("a column of another name alone", lambda t, f: t.select([f]).rename_columns(["other"])),
    columns(
        "two columns of one name",
        lambda t, f: t.append_column(f, t[f]),
    ),
    columns("texts in Parquet that are not UTF-8", _not_utf8),
    columns("texts in an Arrow file that are not UTF-8", _not_utf8, suffix=".arrow"),
    _damaged_table("Parquet cut in the middle", lambda data: data[: len(data) // 2]),
    _damaged_table("Parquet without its last byte", lambda data: data[:-1]),
    _damaged_table("the magic number alone", lambda data: b"PAR1"),
    _damaged_table("an empty Parquet file", lambda data: b""),
    _damaged_table("a footer longer than the file", lambda data: data[:-8] + b"\xff\xff\xff\x7fPAR1"),
    _damaged_table("a footer of other bytes", lambda data: data[:-40] + b"\xff" * 32 + data[-8:]),
    _damaged_table("JSON lines that are called .parquet", lambda data: b'{"text": "a"}\n'),
    _damaged_table("an Arrow file cut in the middle", lambda data: data[: len(data) // 2], suffix=".arrow"),
    _damaged_table("an empty Arrow file", lambda data: b"", suffix=".arrow"),
    _damaged_table(
        "an Arrow file of other bytes", lambda data: b"ARROW1\0\0" + b"\xff" * 200, suffix=".arrow"
    ),
)

PLAIN_LINES = tuple(
    Kind(
        name,
        of(suffix, lambda g, change=change: change("".join(f"{row[g.field]}\n" for row in g.rows).encode())),
        meaning,
    )
    for name, suffix, change, meaning in (
        ("a text a line", ".txt", lambda data: data, SAME),
        ("texts after a byte-order mark", ".txt", lambda data: BOM + data, SAME),
        ("texts that end in CR LF", ".txt", lambda data: data.replace(b"\n", b"\r\n"), SAME),
        ("a last text without its end", ".txt", lambda data: data[:-1], SAME),
        ("texts compressed by gzip", ".txt.gz", lambda data: gzip.compress(data, mtime=0), SAME),
        ("texts compressed by Zstandard", ".txt.zst", zstd, SAME),
        ("texts that are not UTF-8", ".txt", lambda data: data + b"\xff\n", REFUSED),
        ("texts in UTF-16", ".txt", _utf16, REFUSED),
        ("texts in Windows-1252", ".txt", lambda data: data + "Köln\n".encode("cp1252"), REFUSED),
        ("texts that gzip cut", ".txt.gz", lambda data: gzip.compress(data, mtime=0)[:-9], REFUSED),
    )
)


def value(name: str, raw: bytes, meaning: Meaning = REFUSED) -> Kind:
    """The last row with another value of the field, as it stands in JSON."""

    def content(given):
        marked = jsonl([*given.rows[:-1], {**given.rows[-1], given.field: "VALUE"}])
        return marked.replace(b'"VALUE"', raw)

    return Kind(name, of(".jsonl", content), meaning)


def _without_field(given):
    return jsonl([*given.rows[:-1], {k: v for k, v in given.rows[-1].items() if k != given.field}])


def _twice(given):
    key = json.dumps(given.field).encode()
    return (
        jsonl(given.rows)
        .replace(b"{" + key, b"{" + key + b': "x", ' + key)
        .replace(b", " + key, b', %b: "x", %b' % (key, key))
    )


TEXT = either("it is a text, if an odd one")

VALUES = (
    value("null", b"null"),
    value("a number", b"1"),
    value("an integer of 400 digits", b"9" * 400),
    value("an integer of 5,000 digits", b"9" * 5000),
    value("NaN", b"NaN"),
    value("Infinity", b"-Infinity"),
    value("1e999", b"1e999"),
    value("true", b"true"),
    value("a list", b'["a"]'),
    value("an object", b'{"a": "b"}'),
    value("a value nested 80,000 deep", DEEP),
    value("a value nested 120 deep", b"[" * 120 + b"]" * 120),
    value("half a character", b'"a\\ud800"'),
    value("the other half of a character", b'"\\udc00"'),
    value("half a character in UTF-8", b'"\xed\xa0\x80"'),
    value("a byte that is not UTF-8", b'"\xff"'),
    value("a character in more bytes than it takes", b'"\xc0\xaf"'),
    value("a character cut off", b'"\xf0\x9f\x98"'),
    value("an escape that there is not", b'"\\x41"'),
    value("an escape cut off", b'"\\u12"'),
    value("a line feed in a text", b'"a\nb"'),
    value("a tab in a text", b'"a\tb"'),
    value("a NUL byte in a text", b'"a\0b"'),
    value("a text that does not close", b'"a'),
    value("no value", b""),
    Kind("no such field in the last row", of(".jsonl", _without_field)),
    Kind("the field twice", of(".jsonl", _twice)),
    value("an empty text", b'""', TEXT),
    value("a blank text", '"\u2003 \\t"'.encode(), TEXT),
    value("an escaped NUL", b'"a\\u0000b"', TEXT),
    value("escapes of a terminal", b'"\\u001b[31m\\u001b]0;x\\u0007"', TEXT),
    value("100,000 letters", b'"' + b"a" * 100_000 + b'"', TEXT),
    value("10,000 combining marks", b'"a' + "\u0301".encode() * 10_000 + b'"', TEXT),
    value("letters that run from right to left", '"\u202e\u05d0\u202c"'.encode(), TEXT),
    value("a character that is none", '"\uffff\ufdd0"'.encode(), TEXT),
)

UNREAD = either("a scan reads no other field, so that it can be anything there")


def beside(name: str, raw: bytes, meaning: Meaning = UNREAD) -> Kind:
    """The last row with one field more."""
    return lines(name, lambda data: data[:-2] + b', "mine": ' + raw + b"}\n", meaning)


VALUES_BESIDE = (
    beside("NaN beside the field", b"NaN"),
    beside("an integer of 400 digits beside the field", b"9" * 400),
    beside("an integer of 5,000 digits beside the field", b"9" * 5000),
    beside("half a character beside the field", b'"\\ud800"'),
    beside("a field beside that is there twice", b'1, "mine": 2'),
    beside("a value beside the field nested 80,000 deep", DEEP, REFUSED),
    beside("a value beside the field nested 120 deep", b"[" * 120 + b"]" * 120),
    beside("a byte beside the field that is not UTF-8", b'"\xff"'),
    beside("an escaped NUL as the name of a field", b'1, "\\u0000": 1'),
    beside("a name of a field that is a formula", b'1, "=1+1": 1'),
    beside("a name of a field that is empty", b'1, "": 1'),
)


# Places.


def copied(source: Path, place: Path) -> Path:
    """A copy that may be damaged; what is large in it, a model's weights, are links."""
    if source.is_file():
        shutil.copy(source, place)
    else:
        shutil.copytree(
            source,
            place,
            copy_function=lambda s, d: (os.symlink if os.stat(s).st_size > 1 << 20 else shutil.copy)(s, d),
        )
    return place


def suffixes(path: Path) -> str:
    return "".join(path.suffixes)


def called(name: str, like: Callable[[str], str]) -> Kind:
    return Kind(name, lambda g: copied(g.source, g.folder / like(suffixes(g.source))), SAME)


def _link(given: Given, target: str | Path) -> Path:
    path = given.folder / f"{NAME}{suffixes(given.source)}"
    path.symlink_to(target)
    return path


def _linked_copy(given: Given) -> Path:
    return _link(given, copied(given.source, given.folder / f"real{suffixes(given.source)}"))


def _below_a_file(given: Given) -> Path:
    (given.folder / "file").touch()
    return given.folder / "file" / f"{NAME}{suffixes(given.source)}"


def _pipe(given: Given) -> Path:
    path = given.folder / f"{NAME}{suffixes(given.source)}"
    os.mkfifo(path)
    return path


def _folder(given: Given) -> Path:
    path = given.folder / f"{NAME}{suffixes(given.source)}"
    path.mkdir()
    return path


NOT_UTF8 = "a path that is not UTF-8"

PATHS = (
    Kind("a link to it", _linked_copy, SAME),
    called("a name with spaces", lambda suffix: f" {NAME}  of mine{suffix}"),
    called("a name with brackets and braces", lambda suffix: f"[red]{{0}}%s$x\\n{NAME}{suffix}"),
    called("a name of 200 letters", lambda suffix: "h" * 200 + suffix),
    called("a name with a line feed", lambda suffix: f"{NAME}\nof mine{suffix}"),
    called(NOT_UTF8, lambda suffix: os.fsdecode(b"\xff\xfe") + suffix),
    Kind("nothing", lambda g: g.folder / f"{NAME}{suffixes(g.source)}"),
    Kind("a link to nothing", lambda g: _link(g, g.folder / "nothing")),
    Kind("a link to itself", lambda g: _link(g, g.folder / f"{NAME}{suffixes(g.source)}")),
    Kind("a name of 300 letters", lambda g: g.folder / ("h" * 300 + suffixes(g.source))),
    Kind("a place below a file", _below_a_file),
    Kind("a path of 5,000 letters", lambda g: Path(str(g.folder) + "/h" * 2500 + suffixes(g.source))),
)

PATHS_OF_FILES = (
    *PATHS,
    Kind("a folder in place of a file", _folder),
    Kind("a link to a device without an end", lambda g: _link(g, "/dev/zero")),
    Kind("a link to the device that is empty", lambda g: _link(g, "/dev/null")),
    Kind("a link to a file that cannot be read", lambda g: _link(g, "/proc/self/mem")),
)

# A scan and a lexicon may come by a pipe.
PIPES = (Kind("a pipe that nobody writes to", _pipe),)

PATHS_OF_FOLDERS = (
    *PATHS,
    Kind("a file in place of a folder", of("", lambda g: b"")),
    Kind("an empty folder", _folder),
    Kind("a link to a device", lambda g: _link(g, "/dev/zero")),
)


def _beside_dump(name: str, add: Callable[[Path], object], meaning: Meaning = REFUSED) -> Kind:
    """A folder with the clean dump and something else."""

    def make(given):
        folder = _folder(Given(given.folder, Path("x")))
        copied(given.source, folder / f"dump{suffixes(given.source)}")
        add(folder)
        return folder

    return Kind(name, make, meaning)


FOLDERS_OF_DUMPS = (
    _beside_dump("a folder with one dump", lambda folder: None, SAME),
    _beside_dump(
        "a hidden file in a folder", lambda folder: (folder / ".x.jsonl").write_bytes(b"\xff"), SAME
    ),
    _beside_dump(
        "a file of no known format in a folder", lambda folder: (folder / "x.md").write_bytes(b"\xff"), SAME
    ),
    _beside_dump(
        "a link to its own folder in a folder", lambda folder: (folder / "x").symlink_to(folder), SAME
    ),
    _beside_dump("an empty folder in a folder", lambda folder: (folder / "x").mkdir(), SAME),
    _beside_dump("files of two formats", lambda folder: (folder / "LICENSE.txt").write_text("It may be.")),
    _beside_dump("a link to nothing in a folder", lambda folder: (folder / "x.jsonl").symlink_to("nothing")),
    _beside_dump("a link to itself in a folder", lambda folder: (folder / "x.jsonl").symlink_to("x.jsonl")),
    _beside_dump(
        "a link to a device in a folder", lambda folder: (folder / "x.jsonl").symlink_to("/dev/zero")
    ),
    _beside_dump("a pipe in a subfolder of no format", lambda folder: os.mkfifo(folder / "x.csv")),
    _beside_dump("one broken file of two", lambda folder: (folder / "x.jsonl").write_text("{")),
    Kind("a folder without a dump", lambda g: _folder(Given(g.folder, Path("x")))),
)


# Sheets, which people fill in with other programs.


def sheet(
    name: str,
    change: Callable[[list[list[str]]], object] | None = None,
    meaning: Meaning = REFUSED,
    *,
    encode: Callable[[str], bytes] = str.encode,
    separator: str = ",",
    end: str = "\n",
) -> Kind:
    def content(given):
        import csv

        rows = list(csv.reader(given.source.open(encoding="utf-8", newline="")))
        if change is not None:
            rows = change(rows) or rows
        quoted = (separator.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows)
        return encode("".join(line + end for line in quoted))

    return Kind(name, of(".csv", content), meaning)


def _cell(line: int, column: str, new: str | Callable[[str], str]):
    def change(rows):
        at = rows[0].index(column)
        for row in rows[1:] if line < 0 else [rows[line]]:
            row[at] = new if isinstance(new, str) else new(row[at])

    return change


def _without(column):
    return lambda rows: [
        [cell for cell, name in zip(row, rows[0], strict=True) if name != column] for row in rows
    ]


def _replaced_cell(rows: list[list[str]], line: int, column: str, new: str) -> list[str]:
    """A line with one cell changed."""
    return [new if name == column else cell for cell, name in zip(rows[line], rows[0], strict=True)]


def _beside(name: str, cell: str):
    """A column more, before the others."""
    return lambda rows: [[name, *rows[0]], *([cell, *row] for row in rows[1:])]


# What any sheet may be, whatever its columns are.
SHEETS = (
    sheet("a sheet with every cell in quotation marks", None, SAME),
    sheet("a sheet after a byte-order mark", None, SAME, encode=lambda text: BOM + text.encode()),
    sheet("a sheet in UTF-16", None, SAME, encode=lambda text: text.encode("utf-16")),
    sheet(
        "a sheet in UTF-16 with its other order of bytes",
        None,
        SAME,
        encode=lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    ),
    sheet("a sheet in Windows-1252", None, SAME, encode=lambda text: text.encode("cp1252", "replace")),
    sheet("a sheet with semicolons", None, SAME, separator=";"),
    sheet("a sheet with tabs", None, SAME, separator="\t"),
    sheet("a sheet with lines that end in CR LF", None, SAME, end="\r\n"),
    sheet("a sheet with lines that end in CR alone", None, SAME, end="\r"),
    sheet(
        "a sheet with tabs in UTF-16 and CR LF",
        None,
        SAME,
        separator="\t",
        end="\r\n",
        encode=lambda text: text.encode("utf-16"),
    ),
    sheet("columns of a sheet in another order", lambda rows: [row[::-1] for row in rows], SAME),
    sheet("rows of a sheet in another order", lambda rows: [rows[0], *rows[:0:-1]], SAME),
    sheet("a column of one's own", _beside("notes", "=1+1"), SAME),
    sheet(
        "columns and lines that nobody filled",
        lambda rows: [[*row, "", ""] for row in [*rows, [""] * len(rows[0])]],
        SAME,
    ),
    sheet("a column with a name of 200,000 letters", _beside("n" * 200_000, "1"), SAME),
    sheet("a cell of 200,000 letters", _beside("notes", "n" * 200_000), SAME),
    sheet("500 columns without a name", lambda rows: [[*row, *[""] * 500] for row in rows], SAME),
    sheet("an empty sheet", lambda rows: [[]], encode=lambda text: b""),
    sheet("a sheet of NUL bytes", encode=lambda text: bytes(len(text))),
    sheet("a header alone", lambda rows: rows[:1]),
    sheet("a sheet without its header", lambda rows: rows[1:]),
    sheet("a column of a sheet twice", lambda rows: [[*row, row[0]] for row in rows]),
    sheet("a line of more cells", lambda rows: [*rows, [*rows[1], "x"]]),
    sheet("a quotation mark of a sheet that is not closed", encode=lambda text: text.encode()[:-2]),
    sheet("a quotation mark in its header that is not closed", encode=lambda text: text.encode()[:3]),
    sheet(
        "a sheet of a spreadsheet program's own format",
        encode=lambda text: b"PK\x03\x04\x14\0\0\0" + text.encode(),
    ),
    sheet("half a sheet in UTF-16", encode=lambda text: text.encode("utf-16")[:-1]),
    sheet("half a character in UTF-16", encode=lambda text: text.encode("utf-16") + b"\0\xd8\n\0"),
    sheet("a NUL in UTF-16", encode=lambda text: text.encode("utf-16") + bytes(2)),
    sheet("a byte-order mark alone", encode=lambda text: BOM),
    sheet("all rows but one", lambda rows: rows[:2]),
)

LABELLED_SHEETS = (
    sheet("spaces around labels", _cell(-1, "label", lambda label: f" {label} "), SAME),
    sheet("labels such as 1.0", _cell(-1, "label", lambda label: f"{label}.0"), SAME),
    sheet("labels such as 1,00", _cell(-1, "label", lambda label: f"{label},00"), SAME, separator=";"),
    sheet("texts that somebody edited", _cell(-1, "text", "edited"), SAME),
    *(
        sheet(f"a sheet without its column {column}", _without(column))
        for column in ("row", "digest", "kind", "text", "label")
    ),
    sheet("a label that is blank", _cell(2, "label", "")),
    sheet("a label that is 2", _cell(2, "label", "2")),
    sheet("a label that is a word", _cell(2, "label", "yes")),
    sheet("a label of 400 digits", _cell(2, "label", "9" * 400)),
    sheet("a label that is NaN", _cell(2, "label", "nan")),
    sheet("a label in other digits", _cell(2, "label", "١")),
    sheet("a row twice", lambda rows: [*rows, rows[1]]),
    sheet("a row that there is not", _cell(2, "row", "999999")),
    sheet("a row of 400 digits", _cell(2, "row", "9" * 400)),
    sheet("a row below 0", _cell(2, "row", "-1")),
    sheet("a row that is no number", _cell(2, "row", "#REF!")),
    sheet("another digest", _cell(2, "digest", "0" * 12)),
    sheet("a digest that is infinite", _cell(2, "digest", "1e999")),
    sheet("two kinds in one sheet", _cell(2, "kind", "caveat")),
    sheet("a kind that there is not", _cell(-1, "kind", "=cmd()")),
    sheet("groups that are no JSON", _cell(-1, "by", "[")),
    sheet("groups that are no list", _cell(-1, "by", "{}")),
    sheet("groups nested 80,000 deep", _cell(-1, "by", "[" * 80_000)),
    sheet("groups by a field that there is not", _cell(-1, "by", '["none"]')),
)


def _more_facts(count: int, row: Callable[[int], dict[str, str]]):
    """So many rows more."""
    return lambda rows: [
        *rows,
        *([row(number).get(name, "") for name in rows[0]] for number in range(count)),
    ]


LARGE = either("it is a world, if a large one")

# The first rows are of a relation with templates, which does not ship with the package.
FACT_SHEETS = (
    sheet("spaces around all cells", lambda rows: [[f" {cell}\t" for cell in row] for row in rows], SAME),
    sheet("a full stop after a template", _cell(1, "template", lambda text: f"{text}. "), SAME),
    sheet("a question mark after a question", _cell(1, "question", lambda text: f"{text} ? "), SAME),
    sheet("a fact twice", lambda rows: [*rows, rows[1]], SAME),
    *(
        sheet(f"a sheet without its column {column}", _without(column))
        for column in ("subject", "relation", "object")
    ),
    *(
        sheet(f"a blank {column}", _cell(2, column, " \u2003"))
        for column in ("subject", "relation", "object")
    ),
    *(
        sheet(f"a line feed in a {column}", _cell(2, column, lambda text: f"{text}a\nb"))
        for column in ("subject", "template")
    ),
    sheet("no template of a relation that does not ship", _cell(-1, "template", "")),
    sheet("a template without a subject", _cell(2, "template", "It is {o}")),
    sheet("a template without an object", _cell(2, "template", "{s} is it")),
    sheet("a template of two subjects", _cell(2, "template", "{s} and {s} have {o}")),
    sheet("a template of other braces", _cell(2, "template", "{0} of {s.__class__} is {o!r}")),
    sheet("a question that is held out", _cell(-1, "question", "Can you name the capital of {s}?")),
    sheet("a question that holds its answer", _cell(2, "question", "Is {o} that of {s}")),
    sheet("a question without a subject", _cell(2, "question", "Which is it")),
    sheet("a relation that holds {s}", _cell(2, "relation", "{s}")),
    sheet("one object for all of a relation", lambda rows: [rows[0], rows[1], ["x", *rows[1][1:]]]),
    sheet("an object that there is not", _cell(6, "object", "unicorn")),
    sheet("another object for a fact", lambda rows: [*rows, _replaced_cell(rows, 1, "object", "Ulm")]),
    sheet("another topic for a fact", lambda rows: [*rows, _replaced_cell(rows, 1, "topic", "none")]),
    sheet(
        "one id for two facts", lambda rows: [[*row, "id" if i == 0 else "x"] for i, row in enumerate(rows)]
    ),
    sheet(
        "subjects that differ in case alone", lambda rows: [*rows, _replaced_cell(rows, 1, "subject", "NORD")]
    ),
    sheet("a subject that is a formula", _cell(2, "subject", "=HYPERLINK(1)"), TEXT),
    sheet("a subject that holds {o}", _cell(2, "subject", "{o} {s} {0} %s [red]"), TEXT),
    sheet("a subject of 100,000 letters", _cell(2, "subject", "a" * 100_000), TEXT),
    sheet("a relation of 100,000 letters", _cell(2, "relation", "a" * 100_000)),
    sheet("a template of 100,000 letters", _cell(2, "template", "a" * 100_000)),
    sheet("10,000 marks that combine", _cell(2, "object", "a" + "\u0301" * 10_000), TEXT),
    sheet("escapes of a terminal in a cell", _cell(2, "object", "\x1b[31m\x1b]0;x\x07"), TEXT),
    sheet("other ends of lines in a cell", _cell(2, "object", "a\u2028b\x85c\x0bd\x0ce\x1cf"), TEXT),
    sheet("letters of a cell from right to left", _cell(2, "subject", "\u202e\u05d0\u202c"), TEXT),
    sheet("a zero-width cell", _cell(2, "subject", "\u200b\ufeff"), TEXT),
    sheet(
        "4,000 facts of 4,000 objects in 100 templates",
        _more_facts(
            4000,
            lambda i: {
                "subject": f"s{i}",
                "relation": "capital",
                "object": f"o{i}",
                "template": f"{{s}} {i % 100} {{o}}",
            },
        ),
        LARGE,
    ),
    sheet(
        "2,000 relations",
        _more_facts(
            4000,
            lambda i: {
                "subject": f"s{i}",
                "relation": f"r{i // 2}",
                "object": f"o{i}",
                "template": "{s} has {o}",
            },
        ),
        LARGE,
    ),
)


# Lexicons.


def lexicon(name: str, change: Callable[[str], str | bytes], meaning: Meaning = REFUSED) -> Kind:
    def content(given):
        made = change(given.source.read_text("utf-8"))
        return made if isinstance(made, bytes) else made.encode()

    return Kind(name, of(".toml", content), meaning)


def _key(old: str, new: str):
    def change(text):
        assert old in text
        return text.replace(old, new, 1)

    return change


LEXICONS = (
    lexicon("a lexicon after a byte-order mark", lambda text: BOM + text.encode(), SAME),
    lexicon("a lexicon with lines that end in CR LF", lambda text: text.replace("\n", "\r\n"), SAME),
    lexicon("a lexicon without its last end of a line", lambda text: text.rstrip("\n"), SAME),
    lexicon("comments in a lexicon", lambda text: text.replace("\n", " # it may be\n"), SAME),
    lexicon("an empty lexicon", lambda text: ""),
    lexicon("a lexicon of NUL bytes", lambda text: bytes(40)),
    lexicon("a lexicon in UTF-16", lambda text: text.encode("utf-16")),
    lexicon("a lexicon that is not UTF-8", lambda text: text.encode() + b"# \xff\n"),
    lexicon("a lexicon with lines that end in CR alone", lambda text: text.replace("\n", "\r")),
    lexicon("a lexicon cut in the middle", lambda text: text[: len(text) // 2 - 3]),
    lexicon("JSON in place of a lexicon", lambda text: '{"entry": []}'),
    lexicon("an entry that is a number", lambda text: "entry = 1"),
    lexicon("entries that are a table", lambda text: text.replace("[[entry]]", "[entry]", 1)),
    lexicon(
        "lists in a lexicon nested 80,000 deep", lambda text: f"x = {'[' * 80_000}{']' * 80_000}\n{text}"
    ),
    lexicon(
        "tables in a lexicon nested 80,000 deep", lambda text: f"x = {'{a=' * 80_000}1{'}' * 80_000}\n{text}"
    ),
    lexicon("keys in a lexicon nested 80,000 deep", lambda text: f"x{'.a' * 80_000} = 1\n{text}"),
    lexicon("a kind of phrase that there is not", _key('kind = "epistemic"', 'kind = "none"')),
    lexicon("a key that there is not", _key("pattern =", "colour = 1\npattern =")),
    lexicon("a key twice", _key("pattern =", 'kind = "caveat"\npattern =')),
    lexicon("a guard that there is not", _key("pattern =", 'guards = ["none"]\npattern =')),
    lexicon("a strength of NaN", _key("pattern =", "strength = nan\npattern =")),
    lexicon("a strength of 400 digits", _key("pattern =", f"strength = {'9' * 400}\npattern =")),
    lexicon("a strength above 1", _key("pattern =", "strength = 2.0\npattern =")),
    lexicon("a pattern that is empty", _key('"perhaps"', '""')),
    lexicon("a pattern of punctuation", _key('"perhaps"', '"."')),
    lexicon("a pattern that does not close", _key('"perhaps"', '"{perhaps"')),
    lexicon("a pattern of more wordings than memory holds", _key('"perhaps"', f'"{"{a|b|c|d} " * 40}"')),
    lexicon("a pattern of too many words between", _key('"perhaps"', '"a <0-99999999999999999999> b"')),
    lexicon(
        "a pattern of 100,000 words",
        _key('"perhaps"', f'"{"a " * 100_000}"'),
        either("it is a pattern, if a long one"),
    ),
    lexicon("groups of a pattern nested 80,000 deep", _key('"perhaps"', f'"{"{" * 80_000}"')),
    lexicon("half a character in a pattern", _key('"perhaps"', '"\\ud800"')),
    lexicon("a number in place of a pattern", _key('"perhaps"', "1")),
)


# Folders that the package or other libraries wrote.


def damaged(name: str, change: Callable[[Path], object], meaning: Meaning = REFUSED) -> Kind:
    """A copy of a folder with a change to its files."""

    def make(given):
        folder = copied(given.source, given.folder / NAME)
        change(folder)
        return folder

    return Kind(name, make, meaning)


def rewritten(file: str, content: bytes | Callable[[bytes], bytes]) -> Callable[[Path], object]:
    def change(folder):
        path = folder / file
        before = path.read_bytes() if path.exists() else b""
        path.unlink(missing_ok=True)  # it may be a link to the clean one
        path.write_bytes(content(before) if callable(content) else content)

    return change


def lost(*files: str) -> Callable[[Path], object]:
    return lambda folder: [(folder / file).unlink() for file in files]


def in_json(file: str, change: Callable[[Any], Any]) -> Callable[[Path], object]:
    def content(before):
        value = json.loads(before)
        made = change(value)
        return json.dumps(value if made is None else made).encode()

    return rewritten(file, content)


def as_folder(file: str) -> Callable[[Path], object]:
    def change(folder):
        (folder / file).unlink()
        (folder / file).mkdir()

    return change


def _in_place(file: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    """Something else in place of a file."""

    def change(folder):
        (folder / file).unlink()
        make(folder / file)

    return change


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(at: int) -> Callable[[bytes], bytes]:
    def change(data):
        found = at % len(data)
        return data[:found] + bytes([data[found] ^ 0x10]) + data[found + 1 :]

    return change


class _Ran:
    """As a pickle it leaves a file behind, if it is read."""

    def __reduce__(self):
        return os.mkdir, ("a-pickle-was-read",)


PICKLE = pickle.dumps(_Ran())
CODE = b"import os\nos.mkdir('code-was-run')\n"


def _pickled(folder):
    lost("model.safetensors")(folder)
    rewritten("pytorch_model.bin", PICKLE)(folder)


def _custom(folder):
    rewritten("own.py", CODE)(folder)
    in_json(
        "config.json",
        lambda c: {
            **c,
            "model_type": "own",
            "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"},
        },
    )(folder)


def _header(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], object]:
    """Another header of the weights."""

    def content(data):
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        made = json.dumps(change(header) or header).encode()
        return len(made).to_bytes(8, "little") + made + data[8 + size :]

    return rewritten("model.safetensors", content)


WEIGHTS = "model.safetensors"
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"

MODELS = (
    damaged("a model without weights", lost(WEIGHTS)),
    damaged("weights that are empty", rewritten(WEIGHTS, b"")),
    damaged("weights that are cut", rewritten(WEIGHTS, half)),
    damaged("weights of NUL bytes", rewritten(WEIGHTS, bytes(1000))),
    damaged(
        "weights with a header longer than the file", rewritten(WEIGHTS, lambda data: b"\xff" * 8 + data[8:])
    ),
    damaged(
        "weights with a header that is no JSON", rewritten(WEIGHTS, lambda data: data[:8] + b"[" + data[9:])
    ),
    damaged(
        "weights with a header nested 80,000 deep", rewritten(WEIGHTS, (160_000).to_bytes(8, "little") + DEEP)
    ),
    damaged("weights without a tensor", _header(lambda h: {"__metadata__": {"format": "pt"}})),
    damaged(
        "weights with a tensor out of the file",
        _header(lambda h: h["model.norm.weight"].update(data_offsets=[0, 10**15])),
    ),
    damaged(
        "weights with a tensor of another name", _header(lambda h: h.update(other=h.pop("model.norm.weight")))
    ),
    damaged("pickled weights", _pickled),
    damaged("weights that are a folder", as_folder(WEIGHTS)),
    damaged("a model without its configuration", lost(CONFIG)),
    damaged("a configuration that is no JSON", rewritten(CONFIG, b"{")),
    damaged("a configuration that is a list", rewritten(CONFIG, b"[]")),
    damaged("a configuration that is empty", rewritten(CONFIG, b"")),
    damaged("a configuration nested 80,000 deep", rewritten(CONFIG, b'{"a": ' + DEEP + b"}")),
    damaged(
        "a configuration that is not UTF-8", rewritten(CONFIG, lambda data: data.replace(b"silu", b"\xff"))
    ),
    damaged("a configuration that is a folder", as_folder(CONFIG)),
    damaged("an architecture that there is not", in_json(CONFIG, lambda c: {**c, "model_type": "none"})),
    damaged("code of its own", _custom),
    damaged("more layers than there are weights", in_json(CONFIG, lambda c: {**c, "num_hidden_layers": 9})),
    damaged("a width that does not fit the weights", in_json(CONFIG, lambda c: {**c, "hidden_size": 64})),
    damaged("a vocabulary that does not fit the weights", in_json(CONFIG, lambda c: {**c, "vocab_size": 7})),
    damaged("a width of 400 digits", in_json(CONFIG, lambda c: {**c, "hidden_size": 10**399})),
    damaged("a width below 0", in_json(CONFIG, lambda c: {**c, "hidden_size": -128})),
    damaged("a width that is a text", in_json(CONFIG, lambda c: {**c, "hidden_size": "128"})),
    damaged(
        "no layers",
        in_json(CONFIG, lambda c: {**c, "num_hidden_layers": 0}),
        either("a model may have no block"),
    ),
    damaged("a vocabulary larger than the memory", in_json(CONFIG, lambda c: {**c, "vocab_size": 10**12})),
    damaged("a model without a tokenizer", lost(TOKENIZER)),
    damaged("a tokenizer that is no JSON", rewritten(TOKENIZER, half)),
    damaged("a tokenizer that is a list", rewritten(TOKENIZER, b"[]")),
    damaged("a tokenizer that is empty", rewritten(TOKENIZER, b"{}")),
    damaged("a tokenizer nested 80,000 deep", rewritten(TOKENIZER, b'{"model": ' + DEEP + b"}")),
    damaged("a tokenizer without a vocabulary", in_json(TOKENIZER, lambda t: t["model"].update(vocab={}))),
    damaged("a configuration of the tokenizer that is no JSON", rewritten("tokenizer_config.json", b"{")),
)

# A tokenizer may be loaded without its model, which is then none the wiser.
VOCABULARIES = (
    damaged(
        "a vocabulary larger than the model's",
        in_json(
            TOKENIZER,
            lambda t: t["model"].update(vocab={k: v + 100_000 for k, v in t["model"]["vocab"].items()}),
        ),
        refused_by("the text and its token"),
    ),
)


def _as_nan(data: bytes) -> bytes:
    """The same header, and no weight that is a number."""
    begin = 8 + int.from_bytes(data[:8], "little")
    return data[:begin] + b"\xff" * (len(data) - begin)


def gguf(name: str, content: Callable[[Given], bytes]) -> Kind:
    return Kind(name, of(".gguf", content))


def _gguf_header(tensors: int, *fields: bytes) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, len(fields)) + b"".join(fields)


def _field(name: bytes, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + value


_TEXT, _LIST, _WHOLE = 8, 9, 4
_OF_NONE = _field(b"general.architecture", _TEXT, struct.pack("<Q", 4) + b"none")

GGUF_FILES = (
    gguf("an empty GGUF file", lambda given: b""),
    gguf("text that is called .gguf", lambda given: jsonl([{"text": "Perhaps."}] * 99)),
    gguf("safetensors that are called .gguf", lambda given: (given.source / WEIGHTS).read_bytes()),
    gguf("a pickle that is called .gguf", lambda given: PICKLE),
    gguf("a GGUF file cut in its header", lambda given: _gguf_header(9, _OF_NONE)[:40]),
    gguf("a GGUF file without the tensors that it announces", lambda given: _gguf_header(9, _OF_NONE)),
    gguf("a GGUF file that names no architecture", lambda given: _gguf_header(0)),
    gguf("a GGUF file of an architecture that there is not", lambda given: _gguf_header(0, _OF_NONE)),
    gguf(
        "a GGUF file with a list of 2^60 numbers",
        lambda given: _gguf_header(0, _OF_NONE, _field(b"a", _LIST, struct.pack("<IQ", _WHOLE, 2**60))),
    ),
    Kind("a GGUF file that there is not", lambda given: given.folder / f"{NAME}.gguf"),
)

ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"


def adapted(
    name: str, change: Callable[[Path], object] = lambda folder: None, meaning: Meaning = REFUSED, width=128
) -> Kind:
    """The clean model with an adapter to the queries of its first layer, which adds 0, and a change to its files."""

    def make(given):
        folder = given.folder / NAME
        folder.mkdir()
        place = "base_model.model.model.layers.0.self_attn.q_proj"
        tensors = {"lora_A": np.ones((2, width), np.float32), "lora_B": np.zeros((width, 2), np.float32)}
        save_file({f"{place}.{part}.weight": tensor for part, tensor in tensors.items()}, folder / ADAPTER)
        config = {"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"], "layers_to_transform": [0]}
        (folder / ADAPTER_CONFIG).write_text(json.dumps(config))
        change(folder)
        return Path(f"{given.source}+{folder}")

    return Kind(name, make, meaning)


def _pickled_adapter(folder):
    lost(ADAPTER)(folder)
    rewritten("adapter_model.bin", PICKLE)(folder)


def _no_folder(folder):
    lost(ADAPTER, ADAPTER_CONFIG)(folder)
    folder.rmdir()


ADAPTERS = (
    adapted("an adapter that adds 0", meaning=SAME),
    adapted("an adapter that there is not", _no_folder),
    adapted("an adapter without its configuration", lost(ADAPTER_CONFIG)),
    adapted("a configuration of an adapter that is no JSON", rewritten(ADAPTER_CONFIG, b"{")),
    adapted("a configuration of an adapter that is a list", rewritten(ADAPTER_CONFIG, b"[]")),
    adapted("an adapter that is no LoRA", in_json(ADAPTER_CONFIG, lambda c: {**c, "peft_type": "IA3"})),
    adapted("an adapter of a rank that is a text", in_json(ADAPTER_CONFIG, lambda c: {**c, "r": "2"})),
    adapted("an adapter to no module", in_json(ADAPTER_CONFIG, lambda c: {**c, "target_modules": ["none"]})),
    adapted(
        "an adapter that lacks weights",
        in_json(ADAPTER_CONFIG, lambda c: {**c, "layers_to_transform": [0, 1]}),
    ),
    adapted("an adapter without weights", lost(ADAPTER)),
    adapted("a pickled adapter", _pickled_adapter),
    adapted("an adapter that is cut", rewritten(ADAPTER, half)),
    adapted("an adapter of NaN", rewritten(ADAPTER, _as_nan)),
    adapted("an adapter of a narrower model", width=64),
)

# What only shows where two models are compared.
PAIRS = (
    damaged("weights of NaN", rewritten(WEIGHTS, _as_nan)),
    damaged(
        "a vocabulary with another word",
        in_json(TOKENIZER, lambda t: t["model"]["vocab"].update(unheard=t["model"]["vocab"].pop("x"))),
        refused_by("the vocabularies differ"),
    ),
)


JOURNAL, MANIFEST, SHARD, TEXTS = (
    "journal.jsonl",
    "manifest.json",
    "shard-00000.safetensors",
    "texts-texts.parquet",
)
NOT_COMPARED = either("verify alone compares what it reads with the checksums")

STORES = (
    damaged("a store without its journal", lost(JOURNAL)),
    damaged("a journal that is empty", rewritten(JOURNAL, b"")),
    damaged(
        "a journal that was cut to its first line",
        rewritten(JOURNAL, lambda data: data[: data.index(b"\n") + 1]),
        either("a capture that is killed between a shard and its line leaves the same"),
    ),
    damaged("a journal cut within a line", rewritten(JOURNAL, lambda data: data[: data.index(b"\n") - 4])),
    damaged("a journal that is no JSON", rewritten(JOURNAL, lambda data: data.replace(b"{", b"["))),
    damaged("a journal of NUL bytes", rewritten(JOURNAL, lambda data: bytes(len(data)))),
    damaged("a journal nested 80,000 deep", rewritten(JOURNAL, lambda data: data + DEEP + b"\n")),
    damaged("a journal with a line twice", rewritten(JOURNAL, lambda data: data + data.splitlines(True)[-1])),
    damaged(
        "a journal with a shard of another folder",
        rewritten(JOURNAL, lambda data: data.replace(b"shard-", b"../../x")),
    ),
    damaged(
        "a journal with rows of 18 digits",
        rewritten(JOURNAL, lambda data: data.replace(b'"rows":', b'"rows":99999999999999')),
    ),
    damaged("a journal that is a folder", as_folder(JOURNAL)),
    damaged("a store without its manifest", lost(MANIFEST)),
    damaged("a manifest that is empty", rewritten(MANIFEST, b"")),
    damaged("a manifest that is no JSON", rewritten(MANIFEST, half)),
    damaged("a manifest nested 80,000 deep", rewritten(MANIFEST, DEEP)),
    damaged("a manifest of another version", in_json(MANIFEST, lambda m: {**m, "version": 99})),
    damaged("a manifest of another width", in_json(MANIFEST, lambda m: {**m, "width": 10**15})),
    damaged("a manifest of other layers", in_json(MANIFEST, lambda m: {**m, "layers": [7]})),
    damaged("a manifest of no width", in_json(MANIFEST, lambda m: {**m, "width": 0})),
    damaged("a store without a shard", lost(SHARD)),
    damaged("a shard that is empty", rewritten(SHARD, b"")),
    damaged("a shard that is cut", rewritten(SHARD, half)),
    damaged("a shard that is longer", rewritten(SHARD, lambda data: data + b"\0")),
    damaged("a shard with another header", rewritten(SHARD, flipped(9))),
    damaged("a shard with a flipped bit", rewritten(SHARD, flipped(-9)), NOT_COMPARED),
    damaged("a shard that is a folder", as_folder(SHARD)),
    damaged("a store without its table of texts", lost(TEXTS)),
    damaged("a table of texts that is cut", rewritten(TEXTS, half)),
    damaged("a table of texts that is empty", rewritten(TEXTS, b"")),
    damaged("a table of texts with a flipped bit", rewritten(TEXTS, flipped(40))),
    damaged("a table of texts that is a pickle", rewritten(TEXTS, PICKLE)),
    damaged("a checksum of the texts that is none", rewritten(f"{TEXTS}.xxh3", b"\xff\n")),
    damaged("a file in a store that is not its own", rewritten("notes.md", b"mine"), SAME),
)

PLAN, SUMMARY, MEASURES = "plan.json", "summary.parquet", "measures.parquet"
UNREAD_FILE = either("a file of the run that this does not read")


def _table(file, change):
    def of_run(folder):
        table = change(pq.read_table(folder / file))
        pq.write_table(table, folder / file)

    return of_run


RUNS = (
    *(
        kind
        for file in (PLAN, "environment.json", "start_model.json", "config.json")
        for kind in (
            damaged(f"a run without {file}", lost(file), UNREAD_FILE if file == "config.json" else REFUSED),
            damaged(f"{file} that is empty", rewritten(file, b"")),
            damaged(f"{file} that is no JSON", rewritten(file, half)),
            damaged(f"{file} that is a list", rewritten(file, b"[]")),
            damaged(f"{file} nested 80,000 deep", rewritten(file, b'{"plan": ' + DEEP + b"}")),
            damaged(f"{file} that is not UTF-8", rewritten(file, lambda data: data[:-3] + b"\xff}}")),
            damaged(f"{file} that is a folder", as_folder(file)),
        )
    ),
    damaged(
        "a plan that was edited",
        in_json(PLAN, lambda p: p["plan"].update(title="<script>")),
        either("it is reported, and said to be changed"),
    ),
    damaged("a plan of another version", in_json(PLAN, lambda p: p["plan"].update(version=99))),
    damaged("a plan without arms", in_json(PLAN, lambda p: p["plan"].update(arms=[]))),
    damaged("a plan with a key more", in_json(PLAN, lambda p: p["plan"].update(colour="red"))),
    damaged("a plan with a number of 400 digits", in_json(PLAN, lambda p: p["plan"].update(alpha=10**399))),
    damaged(
        "a plan with half a character",
        rewritten(PLAN, lambda data: data.replace(b'"title": "', b'"title": "\\ud800', 1)),
    ),
    *(
        kind
        for file in (SUMMARY, MEASURES, "generations.parquet", "facts.parquet", "steps.parquet")
        for kind in (
            damaged(f"a run without {file}", lost(file)),
            damaged(f"{file} that is empty", rewritten(file, b"")),
            damaged(f"{file} that is cut", rewritten(file, half)),
            damaged(f"{file} that is a pickle", rewritten(file, PICKLE)),
            damaged(
                f"{file} without its first column",
                _table(file, lambda table: table.select(table.column_names[1:])),
            ),
        )
    ),
    damaged(
        "a table in place of another", lambda folder: shutil.copy(folder / "steps.parquet", folder / MEASURES)
    ),
    damaged(
        "a table with numbers in place of texts",
        _table(MEASURES, lambda t: t.set_column(0, "experiment", pa.array(range(len(t))))),
    ),
    damaged(
        "tables with a flipped bit",
        rewritten(MEASURES, flipped(200)),
        either("it is an error, or no value rests on it"),
    ),
    damaged(
        "tables without rows",
        _table(MEASURES, lambda t: t.slice(0, 0)),
        either("they are a table all the same"),
    ),
    damaged("a file in a run that is not its own", rewritten("notes.md", b"mine"), SAME),
    damaged("a part of a run that is lost", lambda folder: shutil.rmtree(folder / "parts"), SAME),
)


SEALED, FIRST_READING = "diagnosis.json", "readings/before.parquet"

# A diagnosis that was begun: what it is of, and the reading of the model before.
DIAGNOSES = (
    *(
        kind
        for file in (SEALED, FIRST_READING)
        for kind in (
            damaged(f"{file} that is empty", rewritten(file, b"")),
            damaged(f"{file} that is cut", rewritten(file, half)),
            damaged(f"{file} that is a pickle", rewritten(file, PICKLE)),
        )
    ),
    damaged("a diagnosis without diagnosis.json", lost(SEALED)),
    damaged(f"{SEALED} that is a list", rewritten(SEALED, b"[]")),
    damaged(f"{SEALED} nested 80,000 deep", rewritten(SEALED, DEEP)),
    damaged(f"{SEALED} that is a folder", as_folder(SEALED)),
    damaged("a diagnosis of other models", in_json(SEALED, lambda of: {**of, "sha256": "0" * 64})),
    damaged(
        f"{FIRST_READING} of one column",
        _table(FIRST_READING, lambda table: table.select(table.column_names[:1])),
    ),
)

# Collections of facts: a folder of LRE with one relation, and one of ParaRel with one property. No name in them says what
# another one says, so that facts are the same whatever their files are called.

SONG = "factual/guild_song.json"


def lre(name: str, change: Callable[[Any], Any], meaning: Meaning = REFUSED) -> Kind:
    """A folder of LRE with a change to what its file says."""
    return damaged(name, in_json(SONG, change), meaning)


def lre_bytes(name: str, content: bytes | Callable[[bytes], bytes], meaning: Meaning = REFUSED) -> Kind:
    return damaged(name, rewritten(SONG, content), meaning)


def _set(*steps: Any) -> Callable[[Any], Any]:
    """Puts the last of the steps where the others lead."""
    *path, last, new = steps

    def change(value):
        for step in path:
            value = value[step]
        value[last] = new(value[last]) if callable(new) else new

    return change


def _unset(*steps: Any) -> Callable[[Any], Any]:
    *path, last = steps

    def change(value):
        for step in path:
            value = value[step]
        del value[last]

    return change


def _each_name(change: Callable[[str], str]) -> Callable[[Any], Any]:
    """Changes every subject and object."""

    def of_all(value):
        for row in value["samples"]:
            row.update({name: change(text) for name, text in row.items()})

    return of_all


_ODD_NAMES = (
    ("braces of wordings", "{o} {s} {} [X] [Y] {0} %s [red]"),
    ("100,000 letters", "a" * 100_000),
    ("10,000 marks that combine", "a" + "\u0301" * 10_000),
    ("escapes of a terminal", "\x1b[31m\x1b]0;x\x07"),
    ("other ends of lines", "a\u2028b\x85c\x0bd\x0ce\x1cf"),
    ("letters from right to left", "\u202e\u05d0\u202c"),
    ("no width", "\u200b\ufeff"),
    ("NUL", "a\0b"),
    ("a formula", "=HYPERLINK(1)"),
    ("hyphens alone", "- -"),
)
_NO_NAMES = (
    ("null", None),
    ("a number", 1),
    ("a list", ["a"]),
    ("an object of JSON", {"a": "b"}),
    ("empty", ""),
    ("blank", " \u2003\t"),
    ("of two lines", "a\nb"),
    ("of lines that end in CR", "a\rb"),
    ("of half a character", "a\ud800"),
)
_WORDED_ALONE = either("a relation may be worded by its templates alone")

FILES_OF_LRE = (
    lre_bytes("a relation after a byte-order mark", lambda data: BOM + data, SAME),
    lre_bytes(
        "a relation in lines that end in CR LF",
        lambda data: json.dumps(json.loads(data), indent=2).replace("\n", "\r\n").encode(),
        SAME,
    ),
    lre("keys of a relation in another order", lambda value: dict(reversed(value.items())), SAME),
    lre("a key of one's own", _set("mine", {"a": [1]}), SAME),
    lre("a relation without its name", _unset("name"), SAME),
    lre("spaces around names", _each_name(lambda text: f" {text}\t"), SAME),
    lre("spaces in templates", _set("prompt_templates", 0, lambda text: f" {text}  "), SAME),
    lre("a sample twice", lambda value: value["samples"].append(value["samples"][0]), SAME),
    lre(
        "a template twice", lambda value: value["prompt_templates"].append(value["prompt_templates"][0]), SAME
    ),
    lre("escapes that were escaped again", _each_name(lambda text: text.replace("ü", "\\u00fc")), SAME),
    lre("a relation without properties", _unset("properties"), _WORDED_ALONE),
    lre("properties without a name of the range", _unset("properties", "range_name"), _WORDED_ALONE),
    lre("four templates of the same words", _set("prompt_templates", ["{} sings"] * 4), TEXT),
    lre("no templates", lambda value: value.update(prompt_templates=[], prompt_templates_zs=[]), TEXT),
    lre_bytes("an empty relation", b""),
    lre_bytes("half a relation", half),
    lre_bytes("NUL bytes in a relation", lambda data: data.replace(b":", b":\0")),
    lre_bytes("a relation in UTF-16", _utf16),
    lre_bytes("a relation that is not UTF-8", lambda data: data.replace(b"song", b"so\xff")),
    lre_bytes("a relation that gzip compressed", lambda data: gzip.compress(data, mtime=0)),
    lre_bytes("a relation that is a pickle", PICKLE),
    lre_bytes("a relation that is an array", lambda data: b"[" + data + b"]"),
    lre_bytes("a relation that is a number", b"1"),
    lre_bytes("a relation that is null", b"null"),
    lre_bytes("a relation that is a text", b'"samples"'),
    lre_bytes("a relation in JSON lines", lambda data: data + b"\n" + data),
    lre_bytes("a relation nested 80,000 deep", lambda data: data[:-1] + b', "mine": ' + DEEP + b"}"),
    lre_bytes("a relation that nests 80,000 objects", b'{"samples":' * 80_000),
    lre_bytes("a key of a relation twice", lambda data: data[:-1] + b', "samples": []}'),
    lre_bytes(
        "an integer of 5,000 digits in a relation", lambda data: data[:-1] + b', "n": ' + b"9" * 5000 + b"}"
    ),
    *(
        kind
        for key in ("samples", "prompt_templates", "prompt_templates_zs")
        for kind in (
            lre(f"a relation without {key}", _unset(key)),
            lre(f"{key} that are null", _set(key, None)),
            lre(f"{key} that are an object", _set(key, {"a": "b"})),
            lre(f"{key} that are a text", _set(key, "{}")),
            lre(f"{key} of null", _set(key, 0, None)),
            lre(f"{key} of a list", _set(key, 0, ["a"])),
        )
    ),
    *(
        lre(f"a template that {what}", _set("prompt_templates", 0, text))
        for what, text in (
            ("is a number", 1),
            ("is empty", ""),
            ("has no place", "The song is"),
            ("has two places", "{} and {} sing"),
            ("holds {s}", "{s} of {} sings"),
            ("holds {o}", "{} sings {o}"),
            ("has a name in its place", "{0} sings"),
            ("has two lines", "{}\nsings"),
        )
    ),
    lre("a question without a place", _set("prompt_templates_zs", 0, "Which song?")),
    lre("a question that holds {s}", _set("prompt_templates_zs", 0, "Which song does {s} of {} sing?")),
    lre("a template of 100,000 letters in LRE", _set("prompt_templates", 0, "{} " + "a" * 100_000), TEXT),
    lre("a template of escapes of a terminal", _set("prompt_templates", 0, "{} \x1b[31m\x1b]0;x\x07"), TEXT),
    lre("properties that are a list", _set("properties", [1])),
    lre("properties that are a text", _set("properties", "song")),
    *(
        lre(f"a range that is {what}", _set("properties", "range_name", text))
        for what, text in (
            ("a list", ["song"]),
            ("a number", 1),
            ("blank", " "),
            ("two lines", "a\nb"),
            ("{s}", "{s}"),
        )
    ),
    *(
        kind
        for name in ("subject", "object")
        for kind in (
            lre(f"a sample without its {name}", _unset("samples", 0, name)),
            *(lre(f"{name}: {what}", _set("samples", 0, name, text)) for what, text in _NO_NAMES),
            *(lre(f"{name} with {what}", _set("samples", 0, name, text), TEXT) for what, text in _ODD_NAMES),
            lre(f"{name}: a line feed that was escaped again", _set("samples", 0, name, "a\\u000ab")),
            lre(f"{name}: half a character that was escaped again", _set("samples", 0, name, "a\\udc00")),
        )
    ),
    lre("no samples", _set("samples", [])),
    lre("one object for all samples", lambda value: [row.update(object="x") for row in value["samples"]]),
    lre("one subject for all samples", lambda value: [row.update(subject="x") for row in value["samples"]]),
    lre(
        "subjects that name their objects",
        lambda value: [row.update(subject=row["object"]) for row in value["samples"]],
    ),
    lre(
        "a closed set of 10,000 objects",
        _set("samples", [{"subject": f"s{i}", "object": f"o{i}"} for i in range(10_000)]),
        LARGE,
    ),
    damaged("a relation that is a folder", as_folder(SONG)),
)


def _beside_song(name: str, add: Callable[[Path, Path], object], meaning: Meaning = REFUSED) -> Kind:
    """A folder of LRE with something beside its file, which is also given."""
    return damaged(name, lambda folder: add(folder, folder / SONG), meaning)


def _deep(folder):
    place = folder.joinpath(*["d"] * 100)
    place.mkdir(parents=True)
    return place


def _other_forms(folder):
    for suffix in ("md", "csv", "jsonl", "json.gz"):
        (folder / f"a.{suffix}").write_bytes(b"\xff")


FOLDERS_OF_LRE = (
    _beside_song(
        "a hidden file beside a relation",
        lambda _, song: (song.parent / "._a.json").write_bytes(b"\xff"),
        SAME,
    ),
    _beside_song("files of other forms beside a relation", lambda folder, _: _other_forms(folder), SAME),
    _beside_song(
        "a link from a folder of LRE to itself", lambda folder, _: (folder / "a").symlink_to(folder), SAME
    ),
    _beside_song("an empty folder that is called .json", lambda folder, _: (folder / "a.json").mkdir(), SAME),
    _beside_song(
        "a relation 100 folders deep", lambda folder, song: song.rename(_deep(folder) / song.name), SAME
    ),
    _beside_song("a suffix in capitals", lambda _, song: song.rename(song.with_suffix(".JSON")), SAME),
    _beside_song(
        "a relation of a name that is not UTF-8",
        lambda _, song: song.rename(song.parent / os.fsdecode(b"\xff\xfe.json")),
        SAME,
    ),
    _beside_song(
        "a relation of a name with a line feed", lambda _, song: song.rename(song.parent / "a\nb .json"), SAME
    ),
    _beside_song(
        "a relation of a name of 200 letters",
        lambda _, song: song.rename(song.parent / f"{'h' * 200}.json"),
        SAME,
    ),
    _beside_song(
        "a relation of a name that is markup",
        lambda _, song: song.rename(song.parent / "[red]{s}%s\x1b[31m.json"),
        SAME,
    ),
    _beside_song("a relation of a blank name", lambda _, song: song.rename(song.parent / " .json")),
    _beside_song(
        "a broken relation beside a whole one", lambda _, song: (song.parent / "a.json").write_text("{")
    ),
    _beside_song("a link to no relation", lambda _, song: (song.parent / "a.json").symlink_to("nothing")),
    _beside_song(
        "a relation that links to itself", lambda _, song: (song.parent / "a.json").symlink_to("a.json")
    ),
    _beside_song(
        "a relation that is a device", lambda _, song: (song.parent / "a.json").symlink_to("/dev/zero")
    ),
    _beside_song("a relation that is a pipe", lambda _, song: os.mkfifo(song.parent / "a.json")),
    _beside_song("a relation in two folders", lambda folder, song: shutil.copy(song, folder)),
    _beside_song(
        "a relation by two spellings of its name",
        lambda folder, song: shutil.copy(song, folder / "Guild_Song.json"),
    ),
    _beside_song(
        "a relation whose link is called as it is", lambda folder, song: (folder / song.name).symlink_to(song)
    ),
    _beside_song("a folder of LRE without a relation", lambda _, song: song.rename(song.with_suffix(".txt"))),
)


FACTS_OF, PATTERNS_OF = "trex_lms_vocab/P9999.jsonl", "patterns/P9999.jsonl"


def _last_line(file: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], object]:
    """Changes the last row of a file of JSON lines."""

    def content(data):
        *rows, last = map(json.loads, data.splitlines())
        change(last)
        return jsonl([*rows, last], escaped=True)

    return rewritten(file, content)


def _each_line(file: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], object]:
    return rewritten(file, lambda data: jsonl([change(row) for row in map(json.loads, data.splitlines())]))


def _moved(change: Callable[[Path], Path], move: Callable[[Path, Path], object]) -> Callable[[Path], object]:
    """Moves or copies the facts and the patterns to other names."""

    def both(folder):
        for file in (FACTS_OF, PATTERNS_OF):
            to = change(folder / file)
            to.parent.mkdir(exist_ok=True)
            move(folder / file, to)

    return both


PARAREL = (
    *(
        kind
        for which, file, key in (("facts", FACTS_OF, "sub_label"), ("patterns", PATTERNS_OF, "pattern"))
        for kind in (
            damaged(f"{which} after a byte-order mark", rewritten(file, lambda data: BOM + data), SAME),
            damaged(
                f"{which} in lines that end in CR LF",
                rewritten(file, lambda data: data.replace(b"\n", b"\r\n")),
                SAME,
            ),
            damaged(
                f"blank lines among {which}",
                rewritten(file, lambda data: data.replace(b"\n", b"\n \n")),
                SAME,
            ),
            damaged(f"a key more in {which}", _each_line(file, lambda row: {"mine": [1], **row}), SAME),
            damaged(f"{which} twice", rewritten(file, lambda data: data * 2), SAME),
            damaged(f"{which} that are empty", rewritten(file, b"")),
            damaged(f"{which} that are cut", rewritten(file, lambda data: data[:-9])),
            damaged(f"{which} with NUL bytes", rewritten(file, lambda data: data.replace(b"\n", b"\0\n"))),
            damaged(f"{which} in UTF-16", rewritten(file, _utf16)),
            damaged(f"{which} that are not UTF-8", rewritten(file, lambda data: data[:-4] + b'\xff"}\n')),
            damaged(f"{which} that are a pickle", rewritten(file, PICKLE)),
            damaged(f"{which} that are an array", rewritten(file, lambda data: b"[{}]\n")),
            damaged(f"{which} of a number", rewritten(file, lambda data: data + b"1\n")),
            damaged(f"{which} of null", rewritten(file, lambda data: data + b"null\n")),
            damaged(f"{which} nested 80,000 deep", rewritten(file, lambda data: data + DEEP + b"\n")),
            damaged(f"{which} with a key twice", rewritten(file, lambda data: data + b'{"a": 1, "a": 2}\n')),
            damaged(f"{which} that are a folder", as_folder(file)),
            damaged(
                f"{which} that are a link to nothing",
                _in_place(file, lambda path: path.symlink_to("nothing")),
            ),
            damaged(
                f"{which} that are a link to themselves", _in_place(file, lambda path: path.symlink_to(path))
            ),
            damaged(f"{which} that are a device", _in_place(file, lambda path: path.symlink_to("/dev/zero"))),
            damaged(f"{which} that are a pipe", _in_place(file, os.mkfifo)),
            damaged(f"{which} without {key}", _last_line(file, _unset(key))),
            *(damaged(f"{key}: {what}", _last_line(file, _set(key, text))) for what, text in _NO_NAMES),
        )
    ),
    damaged("facts without obj_label", _last_line(FACTS_OF, _unset("obj_label"))),
    *(
        damaged(f"obj_label: {what}", _last_line(FACTS_OF, _set("obj_label", text)))
        for what, text in _NO_NAMES
    ),
    *(
        damaged(f"{key} with {what}", _last_line(FACTS_OF, _set(key, text)), TEXT)
        for key in ("sub_label", "obj_label")
        for what, text in _ODD_NAMES
    ),
    *(
        damaged(f"a pattern that {what}", _last_line(PATTERNS_OF, _set("pattern", text)))
        for what, text in (
            ("has no [X]", "It is [Y] ."),
            ("has no [Y]", "[X] sings ."),
            ("has two [X]", "[X] and [X] sing [Y] ."),
            ("has two [Y]", "[X] sings [Y] and [Y] ."),
            ("has small letters", "[x] sings [y] ."),
            ("holds {s}", "[X] of {s} sings [Y] ."),
            ("holds {o}", "[X] sings {o} [Y] ."),
        )
    ),
    damaged("a pattern of its places alone", _last_line(PATTERNS_OF, _set("pattern", "[X] [Y]")), TEXT),
    damaged(
        "a pattern of 100,000 letters",
        _last_line(PATTERNS_OF, _set("pattern", "a" * 100_000 + " [X] [Y]")),
        TEXT,
    ),
    damaged(
        "a pattern after spaces",
        _each_line(PATTERNS_OF, lambda row: {"pattern": f" {row['pattern']}  . "}),
        SAME,
    ),
    damaged("facts of one object", _each_line(FACTS_OF, lambda row: {**row, "obj_label": "x"})),
    damaged("facts of one subject", _each_line(FACTS_OF, lambda row: {**row, "sub_label": "x"})),
    damaged(
        "patterns of the same words", _each_line(PATTERNS_OF, lambda row: {"pattern": "[X] sings [Y] ."})
    ),
    damaged(
        "facts of 10,000 objects",
        rewritten(
            FACTS_OF,
            lambda data: jsonl([{"sub_label": f"s{i}", "obj_label": f"o{i}"} for i in range(10_000)]),
        ),
        LARGE,
    ),
    damaged("ParaRel without its patterns", lambda folder: shutil.rmtree(folder / "patterns")),
    damaged("ParaRel without its facts", lambda folder: shutil.rmtree(folder / "trex_lms_vocab")),
    damaged(
        "patterns without facts", lambda folder: (folder / "patterns/P1.jsonl").write_bytes(b"\xff"), SAME
    ),
    damaged(
        "facts without patterns",
        lambda folder: (folder / "trex_lms_vocab/P1.jsonl").write_bytes(b"\xff"),
        SAME,
    ),
    damaged(
        "a hidden file among facts",
        lambda folder: (folder / "trex_lms_vocab/._P1.jsonl").write_bytes(b"\xff"),
        SAME,
    ),
    damaged("files of other forms in ParaRel", lambda folder: _other_forms(folder), SAME),
    damaged(
        "a property in capitals of its suffix",
        _moved(lambda file: file.with_suffix(".JSONL"), os.rename),
        SAME,
    ),
    damaged("a property in a folder", _moved(lambda file: file.parent / "d" / file.name, os.rename), SAME),
    damaged(
        "a property of a name that is not UTF-8",
        _moved(lambda file: file.with_name(os.fsdecode(b"\xff\xfe.jsonl")), os.rename),
        SAME,
    ),
    damaged("a property twice", _moved(lambda file: file.parent / "d" / file.name, shutil.copy)),
    damaged("a property by two spellings", _moved(lambda file: file.with_name("p9999.jsonl"), shutil.copy)),
)

HIDDEN_STATES = (
    Kind("a folder without hidden states", _folder),
    damaged("hidden states that are cut", rewritten("request.safetensors", b"\x08")),
    damaged(
        "hidden states with a header longer than the file", rewritten("request.safetensors", b"\xff" * 16)
    ),
    damaged("hidden states of other tensors", rewritten("request.safetensors", b"\x02\0\0\0\0\0\0\0{}")),
    damaged("hidden states that are a pickle", rewritten("request.safetensors", PICKLE)),
    damaged("hidden states that are a folder", lambda folder: (folder / "request.safetensors").mkdir()),
)


# Words on the command line.

WORD = either("it may be what somebody wants; if not, it is one line")


def words(name: str, *texts: tuple[str, str]) -> tuple[Kind, ...]:
    return tuple(Kind(f"{name} {what}", lambda g, text=text: text, WORD) for what, text in texts)


FIELD_NAMES = words(
    "a field",
    ("of a huge index", "text." + "9" * 400),
    ("of a negative index", "text.-1"),
    ("of 10,000 steps", "text" + ".0" * 10_000),
    ("that is empty", ""),
    ("that is a point", "."),
    ("of two points", "text..a"),
    ("that is not UTF-8", os.fsdecode(b"\xff")),
    ("with brackets", "[red]{0}%s"),
    ("that is a formula", "=1+1"),
)

NUMBERS = words(
    "a number",
    ("of 400 digits", "9" * 400),
    ("of 19 digits", "9" * 19),
    ("below 0", "-1"),
    ("that is 0", "0"),
    ("that is infinite", "1e999"),
    ("that is NaN", "nan"),
    ("that is empty", ""),
    ("in other digits", "١٢"),
    ("in hexadecimal", "0x10"),
    ("that is not UTF-8", os.fsdecode(b"\xff")),
)

SPOKEN_TEXTS = words(
    "a text",
    ("that is empty", ""),
    ("of 100,000 letters", "it may be " * 100 + "a" * 99_000),
    ("with half a character", os.fsdecode(b"may \xff")),
    ("with escapes of a terminal", "it may be \x1b[31m\x1b]0;x\x07"),
    ("with brackets", "[red]it may[/red] {0} %s"),
    ("with marks that combine", "it may" + "\u0301" * 10_000),
)


# Places to write to. The clean input, `source`, is a copy of its own, so that it can be destroyed.


def _work(given: Given) -> Path:
    path = given.folder / f"{NAME}{suffixes(given.source)}"
    path.write_text("labels of a week\n")
    return path


def _folder_with_work(given: Given) -> Path:
    path = _folder(given)
    (path / "thesis.txt").write_text("mine")
    return path


def _hard_link(given: Given) -> Path:
    path = given.folder / f"{NAME}{suffixes(given.source)}"
    if given.source.is_dir():  # which has one name
        path.symlink_to(given.source)
    else:
        os.link(given.source, path)
    return path


def _linked_work(given: Given) -> Path:
    work = given.folder / f"work{suffixes(given.source)}"
    work.write_text("labels of a week\n")
    return _link(given, work)


WORK = "a file with work in it"
FOLDER_WITH_WORK = "a folder with work in it"
LINK_TO_WORK = "a link to a file with work in it"
LINK_TO_ITSELF = "a link to itself to write to"

OUTPUTS = (
    Kind(WORK, _work),
    Kind(FOLDER_WITH_WORK, _folder_with_work),
    Kind(LINK_TO_WORK, _linked_work),
    Kind("its own input", lambda g: g.source),
    Kind("a link to its own input", lambda g: _link(g, g.source)),
    Kind("a second name of its own input", _hard_link),
    Kind(
        "its own input by another path",
        lambda g: g.source.parent / ".." / g.source.parent.name / g.source.name,
    ),
    Kind("an output below a file", _below_a_file),
    Kind("an output below its own input", lambda g: g.source / f"{NAME}{suffixes(g.source)}"),
    Kind("a name of 300 letters to write to", lambda g: g.folder / ("h" * 300 + suffixes(g.source))),
    Kind(LINK_TO_ITSELF, lambda g: _link(g, g.folder / f"{NAME}{suffixes(g.source)}")),
    Kind("a link to a disk that is full", lambda g: _link(g, "/dev/full")),
    Kind("a link to a device to write to", lambda g: _link(g, "/dev/null")),
    Kind("a place that may not be written to", lambda g: Path(f"/proc/{NAME}{suffixes(g.source)}")),
    Kind("a place of the kernel's", lambda g: Path(f"/sys/{NAME}{suffixes(g.source)}")),
    Kind("a pipe to write to", _pipe),
)

NO_PLACE = (Kind("an output that is empty", lambda g: "", either("no name, or that of the folder itself")),)

# After these there is an output.
NEW_PLACES = (
    Kind("a name with spaces to write to", lambda g: g.folder / f" {NAME} of mine{suffixes(g.source)}", SAME),
    Kind(
        "a name that is not UTF-8 to write to",
        lambda g: g.folder / (os.fsdecode(b"\xff") + suffixes(g.source)),
        SAME,
    ),
    Kind("a link to nothing to write to", lambda g: _link(g, g.folder / f"new{suffixes(g.source)}"), SAME),
    Kind(
        "a link to a place in a folder that is not there",
        lambda g: _link(g, g.folder / "none" / f"new{suffixes(g.source)}"),
        SAME,
    ),
)

GROUPS: dict[str, tuple[Kind, ...]] = {
    "JSON lines": JSON_LINES,
    "JSON arrays": JSON_ARRAYS,
    "CSV and TSV": SEPARATED_VALUES,
    "Parquet and Arrow": PARQUET_AND_ARROW,
    "plain lines": PLAIN_LINES,
    "values": VALUES,
    "values beside": VALUES_BESIDE,
    "paths of files": PATHS_OF_FILES,
    "pipes": PIPES,
    "paths of folders": PATHS_OF_FOLDERS,
    "folders of dumps": FOLDERS_OF_DUMPS,
    "sheets": SHEETS,
    "labelled sheets": LABELLED_SHEETS,
    "sheets of facts": FACT_SHEETS,
    "files of LRE": FILES_OF_LRE,
    "folders of LRE": FOLDERS_OF_LRE,
    "ParaRel": PARAREL,
    "lexicons": LEXICONS,
    "models": MODELS,
    "vocabularies": VOCABULARIES,
    "GGUF files": GGUF_FILES,
    "adapters": ADAPTERS,
    "pairs": PAIRS,
    "stores": STORES,
    "runs": RUNS,
    "diagnoses": DIAGNOSES,
    "hidden states": HIDDEN_STATES,
    "names of fields": FIELD_NAMES,
    "numbers": NUMBERS,
    "texts": SPOKEN_TEXTS,
    "outputs": OUTPUTS,
    "no place": NO_PLACE,
    "new places": NEW_PLACES,
}
