import csv
import errno
import gzip
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from valueattr.cli import app
from valueattr.hedging import HedgeScanner
from valueattr.hedging.dumps import BadRowError, DumpError, FolderError, scan_dump
from valueattr.outputs import OutputError, OutputExistsError
from valueattr.tables import read_rows

TEXTS = [
    "Perhaps it was the wind.",
    "It was copper.",
    'I don’t know. "Perhaps."\n\nI cannot answer that.',
    "",
    "Ünïcode — it may be; 中 perhaps 🙂",
    "It may well rain. " * 50,
]


@pytest.fixture(scope="module")
def scanner():
    return HedgeScanner()


def zstd(path, data):
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(data)


def write(folder, name, texts=TEXTS):
    """A dump of `texts` in the field `text`, of the format that its name says."""
    path = folder / name
    table = pa.table({"id": range(len(texts)), "text": texts})
    lines = "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts)).encode()
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(lines))
    elif name.endswith(".zst"):
        zstd(path, lines)
    elif name.endswith(".parquet"):
        pq.write_table(table, path, row_group_size=2)
    elif name == "file.arrow":
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    elif name == "stream.arrow":
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    else:
        path.write_bytes(lines)
    return path


VALUEATTR = [sys.executable, "-c", "from valueattr.cli import app; app()"]
FORMATS = ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet", "file.arrow", "stream.arrow"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_what_is_given_in_memory(name, scanner, tmp_path):
    path = write(tmp_path, name)
    summary = scan_dump([path], field="text", out=tmp_path / "out", spans=True)
    counts = pq.read_table(tmp_path / "out" / "counts.parquet")
    spans = pq.read_table(tmp_path / "out" / "spans.parquet")
    assert counts.column("source").to_pylist() == [str(path)] * len(TEXTS)
    assert counts.column("row").to_pylist() == list(range(len(TEXTS)))
    assert counts.drop_columns(["source", "row"]).to_pylist() == scanner.scan(TEXTS).to_pylist()
    assert spans.drop_columns(["source"]).to_pylist() == scanner.spans(TEXTS).to_pylist()
    assert summary.documents == len(TEXTS)
    assert summary.kinds["epistemic"] == sum(counts.column("epistemic").to_pylist())
    assert summary.with_kind["epistemic"] == sum(n > 0 for n in counts.column("epistemic").to_pylist())
    assert sorted(os.listdir(tmp_path)) == sorted([name, "out"])


def test_files_of_mixed_formats_are_scanned_in_the_order_they_are_given(tmp_path):
    files = [write(tmp_path, name) for name in FORMATS]
    out = tmp_path.with_suffix(".parquet")
    summary = scan_dump(files, field="text", out=out)
    sources = pq.read_table(out).column("source").to_pylist()
    assert list(dict.fromkeys(sources)) == [str(file) for file in files] == summary.files
    assert summary.documents == len(FORMATS) * len(TEXTS) == len(sources)


def test_a_folder_is_scanned_in_order_of_name_and_says_what_was_left(tmp_path):
    folder = tmp_path / "dumps"
    for name in ("b/a.jsonl.gz", "a.jsonl", "b/c.ndjson", "old/a.jsonl", ".hidden/a.jsonl"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write(folder, name)
    (folder / "notes.md").write_text("Perhaps.")
    (folder / "LICENSE.txt").write_text("Perhaps.")
    (folder / "link").symlink_to(tmp_path)
    summary = scan_dump([folder, folder / "a.jsonl"], field="text", exclude=["*.txt", "old"])
    assert summary.files == [str(folder / name) for name in ("a.jsonl", "b/a.jsonl.gz", "b/c.ndjson")]
    assert summary.left_out == {
        str(folder / name): reason
        for name, reason in {
            ".hidden": "hidden",
            "old": "excluded",
            "link": "a link to a folder",
            "notes.md": "of no known format",
            "LICENSE.txt": "excluded",
        }.items()
    } | {str(folder / "a.jsonl"): "read already"}
    assert summary.documents == 3 * len(TEXTS)


def test_a_license_beside_dumps_is_not_counted_as_texts(tmp_path):
    write(tmp_path, "a.jsonl")
    write(tmp_path, "b.jsonl")
    (tmp_path / "LICENSE.txt").write_text("Perhaps.\n" * 9)
    with pytest.raises(FolderError, match=r"several formats \(2 .jsonl, 1 .txt\)"):
        scan_dump([tmp_path], field="text")
    assert scan_dump([tmp_path], field="text", exclude=["LICENSE*"]).documents == 2 * len(TEXTS)


def test_a_subfolder_that_cannot_be_read_is_named_and_not_passed_over(tmp_path, monkeypatch):
    write(tmp_path, "a.jsonl")
    (tmp_path / "secret").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("secret"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root may read everything
    with pytest.raises(FolderError, match="secret: cannot be read: Permission denied"):
        scan_dump([tmp_path], field="text")
    assert scan_dump([tmp_path], field="text", exclude=["secret"]).left_out == {
        str(tmp_path / "secret"): "excluded"
    }


@pytest.mark.parametrize("target", ["/dev/zero", "none.jsonl", "loop.jsonl"])
def test_links_to_what_is_no_file_are_refused(target, tmp_path):
    (tmp_path / "loop.jsonl").symlink_to(target)
    for path in (tmp_path, tmp_path / "loop.jsonl"):
        with pytest.raises(DumpError, match=r"no regular file|no such file|Too many levels"):
            scan_dump([path], field="text")


def test_a_path_that_is_not_utf_8_is_scanned_and_written(tmp_path):
    folder = tmp_path / os.fsdecode(b"d\xff")
    folder.mkdir()
    for name in FORMATS[:4]:
        path = write(tmp_path, name).rename(folder / name)
        out = folder / f"out-{name}.parquet"
        summary = scan_dump([path], field="text", out=out)
        shown = f"{tmp_path}/d\\xff/{name}"
        assert summary.files == [shown]
        sources = pq.read_table(pa.OSFile(os.fsencode(out))).column("source").to_pylist()
        assert sources == [shown] * len(TEXTS)


def test_a_name_of_a_field_that_is_not_utf_8_is_refused(tmp_path):
    with pytest.raises(DumpError, match="is not UTF-8"):
        scan_dump([write(tmp_path, "a.jsonl")], field="\udcff")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz", "a.tsv.zst"])
def test_separated_values_are_scanned(name, scanner, tmp_path):
    separator = "\t" if ".tsv" in name else ","
    text = io.StringIO()
    rows = csv.writer(text, delimiter=separator, lineterminator="\r\n")
    texts = [*TEXTS, 'It may be "so",\nor not\tso.', "\u2028Perhaps\x85", "x" * 200_000]
    rows.writerows([["text", "id"], *([text, i] for i, text in enumerate(texts))])
    data = ("\ufeff" + text.getvalue() + "\n\r\n").encode()
    path = tmp_path / name
    if name.endswith(".zst"):
        zstd(path, data)
    else:
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    scan_dump([path], field="text", out=tmp_path / "out", spans=True)
    counts = pq.read_table(tmp_path / "out" / "counts.parquet")
    assert counts.column("row").to_pylist() == list(range(len(texts)))
    assert counts.drop_columns(["source", "row"]).to_pylist() == scanner.scan(texts).to_pylist()


def test_rows_of_separated_values_without_a_text_are_named_or_counted(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,text\n1,Perhaps.\n2\n3,a,b\n4,\xff\n5,Perhaps.\n")
    with pytest.raises(BadRowError, match="row 1: expected 2 values, found 1"):
        scan_dump([path], field="text")
    summary = scan_dump([path], field="text", on_error="skip", out=tmp_path / "out.parquet")
    assert [line.partition(": ")[2] for line in summary.listed] == [
        "row 1: expected 2 values, found 1",
        "row 2: expected 2 values, found 3",
        "row 3: text: expected UTF-8, found byte 0xff",
    ]
    assert pq.read_table(tmp_path / "out.parquet").column("row").to_pylist() == [0, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column 'text'; it has none"),
        (b"id;text\n", "no column 'text'; it has id;text"),
        (b'"a\n",b\n', r"no column 'text'; it has 'a\\n', b"),
        (b"text,text\n", "several columns 'text'"),
        (b'text\n"Perhaps\n', "line 2: no CSV: unexpected end of data"),
        (b'text\n"Perhaps" so\n', "line 2: no CSV"),
    ],
)
def test_what_is_no_csv_is_named(content, message, tmp_path):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DumpError, match=message):
        scan_dump([tmp_path / "a.csv"], field="text")
    with pytest.raises(DumpError, match="holds no chats"):
        scan_dump([tmp_path / "a.csv"], field="text", chat=True)


def test_a_scan_leaves_the_longest_cell_of_the_csv_module_as_it_was(tmp_path):
    before = csv.field_size_limit()
    scan_dump([write(tmp_path, "a.jsonl")], field="text", out=tmp_path / "out.csv")
    scan_dump([tmp_path / "out.csv"], field="source")
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file_that_is_one_json_array_is_scanned(indent, pack, scanner, tmp_path):
    path = tmp_path / ("a.json.gz" if pack is gzip.compress else "a.json")
    rows = [{"id": [i, {"x": "],["}], "text": text} for i, text in enumerate(TEXTS)]
    path.write_bytes(pack(b"\n" + json.dumps(rows, indent=indent).encode()))
    scan_dump([path], field="text", out=tmp_path / "out.parquet")
    counts = pq.read_table(tmp_path / "out.parquet")
    assert counts.column("row").to_pylist() == list(range(len(TEXTS)))
    assert counts.drop_columns(["source", "row"]).to_pylist() == scanner.scan(TEXTS).to_pylist()
    path.write_bytes(pack(b'[{"text": "a"},\n\n {"text": null}]'))
    with pytest.raises(BadRowError, match="item 2: text: expected a text, found null"):
        scan_dump([path], field="text")
    path.write_bytes(pack(b'[{"text": "a"}'))
    with pytest.raises(DumpError, match="the JSON array does not close"):
        scan_dump([path], field="text", on_error="skip")


def test_lines_are_scanned_from_a_json_file_too(tmp_path):
    path = write(tmp_path, "a.json")
    assert scan_dump([path], field="text").documents == len(TEXTS)


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("deep", ["[" * 80_000, '{"a":' * 80_000, "[" * 80_000 + "]" * 80_000])
def test_json_nested_deeper_than_the_stack_is_a_bad_row(deep, chat, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{deep}\n{{"text": {deep}}}\n{{"text": []}}\n')
    with pytest.raises(BadRowError, match="line 1: nested deeper than 128 levels"):
        scan_dump([path], field="text", chat=chat)
    assert scan_dump([path], field="text", chat=chat, on_error="skip").skipped == 3 - chat


@pytest.mark.parametrize("chat", [False, True])
def test_a_field_that_is_there_twice_is_a_bad_row(chat, tmp_path):
    """The last one counted in a scan, and was an error in an audit."""
    value = json.dumps([{"role": "assistant", "content": "Perhaps."}] if chat else "Perhaps.")
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": {value}, "n": 1, "n": 2}}\n{{"text": {value}, "text": {value}}}\n')
    with pytest.raises(BadRowError, match="line 2: text: the field is there twice"):
        scan_dump([path], field="text", chat=chat)
    assert scan_dump([path], field="text", chat=chat, on_error="skip").documents == 1


@pytest.mark.parametrize("suffix", ["jsonl", "txt", "json"])
def test_marks_at_the_beginning_and_separators_within_end_no_line(suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    text = "Perhaps\u2028it\x85may\u2029be\x0bso\x0c."
    line = text if suffix == "txt" else json.dumps({"text": text}, ensure_ascii=False)
    path.write_bytes(f"\ufeff{line}\n{line}".encode())
    summary = scan_dump([path], field="text", out=tmp_path / "out.parquet")
    assert (summary.documents, summary.skipped) == (2, 0)
    words = HedgeScanner().scan([text]).column("words").to_pylist()
    assert pq.read_table(tmp_path / "out.parquet").column("words").to_pylist() == words * 2


def arrow(path, table):
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    return path


def test_string_views_of_arrow_are_scanned(tmp_path):
    texts = pa.array([*TEXTS, None])
    for column in (texts.cast(pa.string_view()), texts.cast(pa.string_view()).dictionary_encode()):
        path = arrow(tmp_path / "a.arrow", pa.table({"text": column}))
        summary = scan_dump([path], field="text", on_error="skip")
        assert (summary.documents, summary.skipped) == (len(TEXTS), 1)
        assert summary.kinds == scan_dump([write(tmp_path, "a.jsonl")], field="text").kinds


def test_rows_that_are_not_utf_8_are_named(tmp_path):
    texts = pa.array([b"Perhaps.", b"Perhaps \xff.", b"Perhaps."]).view(pa.string())
    turn = pa.StructArray.from_arrays([pa.array(["assistant"] * 3), texts], ["role", "content"])
    chats = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), turn)
    table = pa.table({"text": texts, "chat": chats})
    path = arrow(tmp_path / "a.parquet", table)
    for field in ("text", "chat"):
        chat = field == "chat"
        message = f"row 1: {field}: expected UTF-8, found byte 0xff"
        with pytest.raises(BadRowError, match=message):
            scan_dump([path], field=field, chat=chat)
        out = tmp_path / f"{field}.parquet"
        assert scan_dump([path], field=field, chat=chat, on_error="skip", out=out).skipped == 1
        assert pq.read_table(out).column("row").to_pylist() == [0, 2]
        row = "from row 0 on" if chat else "row 1"
        with pytest.raises(DumpError, match=rf"{row}: .*UTF8"):
            scan_dump([arrow(tmp_path / "a.arrow", table)], field=field, chat=chat)


@pytest.mark.parametrize(
    "values",
    [
        ["Perhaps."],
        [3],
        [[3]],
        [["Perhaps."]],
        [{"role": "assistant"}],
        [[{"content": "Perhaps."}]],
        [[{"role": 3, "content": "Perhaps."}]],
        [[{"role": "assistant", "content": 3}]],
        [[{"role": "assistant", "content": ["Perhaps."]}]],
    ],
)
def test_what_holds_no_chats_is_named(values, tmp_path):
    path = arrow(tmp_path / "a.parquet", pa.table({"text": values}))
    with pytest.raises(DumpError, match="text: expected lists of chat messages, found "):
        scan_dump([path], field="text", chat=True)
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": values[0]}))
    with pytest.raises(DumpError, match=r"line 1: .*chat messages|line 1: text: expected"):
        scan_dump([path], field="text", chat=True)


def test_chats_with_nulls_are_bad_rows(tmp_path):
    turn = {"role": "assistant", "content": "Perhaps."}
    chats = [[turn], None, [turn, None], [{"role": None, "content": "Perhaps."}], []]
    path = arrow(tmp_path / "a.parquet", pa.table({"text": chats}))
    with pytest.raises(BadRowError, match="row 1: text: expected chat messages, found null"):
        scan_dump([path], field="text", chat=True)
    summary = scan_dump([path], field="text", chat=True, on_error="skip")
    assert (summary.documents, summary.skipped) == (2, 3)


@pytest.mark.parametrize("step", ["1", "99999999999", "9" * 5_000, "01", "+0", "²"])
def test_an_index_beyond_a_list_is_no_such_field(step, tmp_path):
    rows = [{"choices": ["Perhaps."]}]
    lines = tmp_path / "a.jsonl"
    lines.write_text(json.dumps(rows[0]))
    for path in (lines, arrow(tmp_path / "a.parquet", pa.Table.from_pylist(rows))):
        with pytest.raises(DumpError, match=r"there is no such field|found null"):
            scan_dump([path], field=f"choices.{step}")


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.csv.gz"])
@pytest.mark.parametrize("length", [0, 1, 5])
def test_a_compressed_file_that_was_cut_off_at_its_beginning_is_no_empty_dump(name, length, tmp_path):
    path = write(tmp_path, name)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DumpError, match=f"cannot be read to its end: it was cut off after {length} bytes"):
        scan_dump([path], field="text", on_error="skip")


@pytest.mark.parametrize("name", ["a.parquet", "file.arrow", "stream.arrow"])
def test_tables_with_any_byte_damaged_are_errors_or_texts(name, tmp_path):
    whole = write(tmp_path, name).read_bytes()
    for at in range(0, len(whole), 37):
        damaged = bytearray(whole)
        damaged[at] ^= 0x95
        (tmp_path / name).write_bytes(damaged)
        with suppress(DumpError):
            assert scan_dump([tmp_path / name], field="text", on_error="skip").documents <= len(TEXTS)


def test_lines_of_text(scanner, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("Perhaps.\n\n  It is late. \r\nIt may be", "utf-8")
    scan_dump([path], out=tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.column("row").to_pylist() == [0, 2, 3]
    assert found.column("epistemic").to_pylist() == [1, 0, 1]


NESTED = [{"choices": [{"message": {"content": text}}], "n": 1.5e300} for text in TEXTS]
CHATS = [
    [
        {"role": "user", "content": "Perhaps?"},
        {"role": "assistant", "content": text},
        {"role": "assistant", "content": "I think"},
    ]
    for text in TEXTS
]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_nested_fields_and_chats(suffix, scanner, tmp_path):
    rows = [{**nested, "chat": chat} for nested, chat in zip(NESTED, CHATS, strict=True)]
    path = tmp_path / f"a.{suffix}"
    if suffix == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    nested = scan_dump([path], field="choices.0.message.content")
    assert nested.kinds == scan_dump([write(tmp_path, "b.jsonl")], field="text").kinds
    said = ["\n\n".join(part for part in (text, "I think") if part) for text in TEXTS]
    chats = scan_dump([path], field="chat", chat=True)
    assert chats.kinds["epistemic"] == sum(scanner.scan(said).column("epistemic").to_pylist())


BAD = {
    b'{"other": "Perhaps."}': "there is no such field",
    b'{"text": null}': "found null",
    b'{"text": 3}': "found a number",
    b'{"text": true}': "found a boolean",
    b'{"text": {"a": 1}}': "found an object",
    b'{"text": ["Perhaps."]}': "lists of chat messages",
    b'{"text": "Perhaps."': "no JSON",
    b'{"text": "Perhaps."} x': "no JSON",
    b'["text", "Perhaps."]': "there is no such field",
    b"Perhaps.": "no JSON",
    b'{"text": "Perhaps \xff."}': "no JSON",
    b'{"text": "Perhaps \\ud800."}': "no JSON",
    b'{"text": "Perhaps \x01."}': "no JSON",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_lines_are_named_or_counted_and_hide_nothing(line, tmp_path):
    good = json.dumps({"text": "Perhaps."}).encode()
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([good, b"", line, good]))
    with pytest.raises(DumpError) as error:
        scan_dump([path], field="text", out=tmp_path / "out.parquet")
    assert f"{path}: line 3: " in str(error.value)
    assert BAD[line] in str(error.value)
    assert list(tmp_path.iterdir()) == [path]
    summary = scan_dump([path], field="text", on_error="skip", out=tmp_path / "out.parquet")
    assert (summary.documents, summary.skipped, summary.kinds["epistemic"]) == (2, 1, 2)
    assert pq.read_table(tmp_path / "out.parquet").column("row").to_pylist() == [0, 3]


def test_null_texts_of_a_table_are_named_or_counted(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["Perhaps.", None, "It may be."]}), path)
    with pytest.raises(DumpError, match="row 1: text: expected a text, found null"):
        scan_dump([path], field="text")
    summary = scan_dump([path], field="text", on_error="skip", out=tmp_path / "out.parquet")
    assert (summary.documents, summary.skipped) == (2, 1)
    assert pq.read_table(tmp_path / "out.parquet").column("row").to_pylist() == [0, 2]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.parquet", "file.arrow", "stream.arrow"])
def test_a_file_that_was_cut_off_is_an_error(name, tmp_path):
    path = write(tmp_path, name, [f"Perhaps {i}." for i in range(5_000)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(DumpError, match="cannot be read to its end"):
        scan_dump([path], field="text", on_error="skip", out=tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == [path]


def test_several_compressed_members_are_one_dump(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    line = json.dumps({"text": "Perhaps."}).encode() + b"\n"
    path.write_bytes(gzip.compress(line) + gzip.compress(line))
    assert scan_dump([path], field="text").documents == 2


@pytest.mark.parametrize("content", [b"", b"\n\n"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
def test_an_empty_file_holds_no_texts(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    summary = scan_dump([tmp_path / name], field="text", out=tmp_path / "out.parquet")
    assert summary.documents == 0
    assert len(pq.read_table(tmp_path / "out.parquet")) == 0


def test_inputs_that_are_none(tmp_path):
    (tmp_path / "a.xlsx").write_text("text")
    for path, message in [
        (tmp_path / "none.jsonl", "no such file"),
        (tmp_path / "a.xlsx", "no known format"),
        (tmp_path, "no file in it is a dump"),
    ]:
        with pytest.raises(DumpError, match=message):
            scan_dump([path], field="text")
    path = write(tmp_path, "a.parquet")
    with pytest.raises(DumpError, match="no column 'answer'; it has id, text"):
        scan_dump([path], field="answer")
    with pytest.raises(DumpError, match="expected texts, found int64"):
        scan_dump([path], field="id")


def test_output_is_not_overwritten(tmp_path):
    out = tmp_path / "out.parquet"
    out.write_text("mine")
    path = write(tmp_path, "a.jsonl")
    with pytest.raises(OutputExistsError):
        scan_dump([path], field="text", out=out)
    assert out.read_text() == "mine"
    assert scan_dump([path], field="text", out=out, overwrite=True).documents == len(TEXTS)
    assert pq.read_metadata(out).num_rows == len(TEXTS)


def test_no_input_is_overwritten(tmp_path):
    folder = tmp_path / "dumps"
    folder.mkdir()
    path = write(folder, "a.parquet")
    before = path.read_bytes()
    with pytest.raises(OutputError, match="is an input"):
        scan_dump([path], field="text", out=path, overwrite=True)
    with pytest.raises(OutputError, match="holds an input"):
        scan_dump([path], field="text", out=folder, spans=True, overwrite=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "spans"), [("out", False), ("out.tsv", False), ("out.csv", True), ("out.parquet", True)]
)
def test_an_output_is_what_its_name_says(name, spans, tmp_path):
    with pytest.raises(DumpError, match=f"{name}: "):
        scan_dump([write(tmp_path, "a.jsonl")], field="text", out=tmp_path / name, spans=spans)
    assert os.listdir(tmp_path) == ["a.jsonl"]


def test_counts_are_written_as_csv_without_formulas(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "=1+1.jsonl")
    scan_dump([Path("=1+1.jsonl")], field="text", out=Path("out.csv"))
    scan_dump([Path("=1+1.jsonl")], field="text", out=Path("out.parquet"))
    rows = [row for _, row in read_rows("out.csv")]
    assert [row["source"] for row in rows] == ["'=1+1.jsonl"] * len(TEXTS)
    table = pq.read_table("out.parquet")
    for name in table.column_names[1:-1]:
        values = ["" if value is None else str(value) for value in table.column(name).to_pylist()]
        assert [row[name] for row in rows] == values


def test_of_two_scans_to_one_place_one_has_it_and_the_other_one_fails(tmp_path):
    out = tmp_path / "out.parquet"
    pipes = [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]
    scans = []
    for pipe in pipes:
        os.mkfifo(pipe)
        command = [*VALUEATTR, "scan", str(pipe), "--field", "text", "--out", str(out)]
        scans.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
    with pipes[0].open("w") as one, pipes[1].open("w") as two:  # opens when both scans have begun to read
        one.write(json.dumps({"text": "Perhaps."}) + "\n")
        two.write((json.dumps({"text": "Perhaps."}) + "\n") * 2)
    errors = [process.communicate(timeout=60)[1] for process in scans]
    assert sorted(process.returncode for process in scans) == [0, 1]
    first = next(i for i, process in enumerate(scans) if process.returncode == 0)
    assert "was written by another process" in errors[1 - first]
    assert pq.read_table(out).column("source").to_pylist() == [str(pipes[first])] * (first + 1)
    assert sorted(os.listdir(tmp_path)) == ["1.jsonl", "2.jsonl", "out.parquet"]


def test_a_line_of_many_megabytes(tmp_path):
    path = tmp_path / "a.jsonl"
    with path.open("w") as file:
        file.write(json.dumps({"text": "It may well be late. " * 1_500_000}) + "\n")
        file.write(json.dumps({"text": "Perhaps."}) + "\n")
    summary = scan_dump([path], field="text")
    assert (summary.documents, summary.kinds["epistemic"]) == (2, 1_500_001)


@pytest.mark.slow
def test_a_line_over_the_limit_is_counted_and_what_follows_is_scanned(tmp_path):
    path = tmp_path / "a.jsonl"
    with path.open("w") as file:
        file.write(json.dumps({"text": "Perhaps."}) + "\n")
        file.write('{"text": "' + "x" * (270 << 20) + '"}\n')
        file.write(json.dumps({"text": "Perhaps."}) + "\n")
    summary = scan_dump([path], field="text", on_error="skip", out=tmp_path / "out.parquet")
    assert (summary.documents, summary.skipped) == (2, 1)
    assert "longer than 256 MiB" in summary.listed[0]
    assert pq.read_table(tmp_path / "out.parquet").column("row").to_pylist() == [0, 2]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.sampled_from(["text", "b", "ä", ""]), values), max_size=12), st.booleans())
@settings(max_examples=300, deadline=None)
def test_lines_are_read_as_python_reads_them(tmp_path_factory, scanner, rows, ascii_only):
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    lines = [json.dumps(row, ensure_ascii=ascii_only).replace("\n", " ") for row in rows]
    encodable = [line for line in lines if not any("\ud800" <= c <= "\udfff" for c in line)]
    path.write_text("\n".join(encodable), "utf-8")
    out = path.with_suffix(".parquet")
    summary = scan_dump([path], field="text", scanner=scanner, on_error="skip", out=out)
    read = [(i, json.loads(line).get("text")) for i, line in enumerate(encodable)]
    texts = [(i, text) for i, text in read if isinstance(text, str)]
    found = pq.read_table(out)
    assert found.column("row").to_pylist() == [i for i, _ in texts]
    expected = scanner.scan([text for _, text in texts]).column("words").to_pylist()
    assert found.column("words").to_pylist() == expected
    assert summary.skipped == len(encodable) - len(texts)


def test_threads_and_chunks_do_not_change_the_result(tmp_path):
    texts = [f"It may be {i}. " * (1 + i % 40) for i in range(20_000)]
    path = write(tmp_path, "a.jsonl", texts)
    assert path.stat().st_size > 4 << 20
    tables = []
    for threads in (1, 2, 3):
        out = tmp_path / f"{threads}.parquet"
        scan_dump([path], field="text", scanner=HedgeScanner(threads=threads), out=out)
        tables.append(pq.read_table(out))
    assert tables[0] == tables[1] == tables[2]
    in_memory = HedgeScanner().scan(texts).to_pylist()
    assert tables[0].drop_columns(["source", "row"]).to_pylist() == in_memory


def test_standard_input_and_the_command_line(tmp_path):
    path = write(tmp_path, "a.jsonl.zst")
    command = [*VALUEATTR, "scan", "-", "--field", "text", "--json"]
    with path.open("rb") as stdin:
        done = subprocess.run(command, stdin=stdin, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["documents"] == len(TEXTS)


_SCAN_WHEN_TOLD = """
import sys
from pathlib import Path
from valueattr.hedging.dumps import scan_dump
print(flush=True)
scan_dump([Path(sys.argv[1])], field="text", out=Path(sys.argv[2]), overwrite=True)
"""


@pytest.mark.parametrize("kills", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_a_killed_scan_leaves_the_old_file_or_the_new_one(kills, tmp_path):
    path = write(tmp_path, "a.jsonl", TEXTS * 2_000)
    out = tmp_path / "out.parquet"
    began = time.monotonic()
    scan_dump([path], field="text", out=out)
    duration = time.monotonic() - began
    old, new = pq.read_table(out).slice(0, 1), pq.read_table(out)
    draw = random.Random(0)
    for _ in range(kills):
        pq.write_table(old, out)
        command = [sys.executable, "-c", _SCAN_WHEN_TOLD, str(path), str(out)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        process.stdout.read(1)
        time.sleep(draw.random() * 2 * duration)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert pq.read_table(out) in (old, new)
    scan_dump([path], field="text", out=out, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["a.jsonl", "out.parquet"]


def test_a_killed_scan_leaves_nothing_that_looks_complete(tmp_path):
    path = tmp_path / "pipe.jsonl"
    os.mkfifo(path)
    out = tmp_path / "out.parquet"
    command = [*VALUEATTR, "scan", str(path), "--field", "text", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    with path.open("w") as pipe:
        pipe.write((json.dumps({"text": "Perhaps."}) + "\n") * 200_000)
        pipe.flush()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(os.listdir(tmp_path)) == 2  # the pipe, and what was written of the table
    assert not out.exists()
    path.unlink()
    summary = scan_dump([write(tmp_path, "a.jsonl")], field="text", out=out)
    assert summary.documents == len(TEXTS)
    assert sorted(os.listdir(tmp_path)) == ["a.jsonl", "out.parquet"]


def test_commands(tmp_path):
    runner = CliRunner()
    path = write(tmp_path, "a.jsonl")
    done = runner.invoke(app, ["scan", str(path), "--field", "text"])
    assert done.exit_code == 0
    assert "6 texts" in done.output
    for arguments, message in [
        (["scan", str(path)], "line 1: response: there is no such field"),
        (["scan", str(path), "--spans"], "--spans needs --out"),
        (["scan", str(tmp_path / "none.jsonl")], "no such file"),
        (["scan", str(path), "--lexicon", str(path)], "line 1"),
    ]:
        done = runner.invoke(app, arguments)
        assert done.exit_code != 0
        assert message in done.stderr
    done = runner.invoke(app, ["lexicon", "explain", "It may rain in May."])
    assert "no: the word before it" in done.output
    assert runner.invoke(app, ["lexicon", "check"]).exit_code == 0
    assert "perhaps" in runner.invoke(app, ["lexicon", "list", "--kind", "epistemic"]).output
    own = tmp_path / "own.toml"
    own.write_text('[[entry]]\nkind = "caveat"\npattern = "note that"\nexample = "Nothing here."\n')
    done = runner.invoke(app, ["lexicon", "check", str(own)])
    assert done.exit_code == 1
    assert "line 3" in done.stderr


def test_datasets_map(scanner):
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_dict({"text": TEXTS})
    mapped = dataset.map(lambda batch: scanner.scan(batch["text"]).to_pydict(), batched=True, batch_size=4)
    assert mapped["epistemic"][:] == scanner.scan(TEXTS).column("epistemic").to_pylist()
    # What is mapped is named by a hash of the function's pickle, by which it is found again.
    hashes = {datasets.fingerprint.Hasher.hash(each.scan) for each in (scanner, HedgeScanner())}
    assert len(hashes) == 1
