import gzip
import json
import os

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from valueattr.activations import ActivationStore
from valueattr.cli import app
from valueattr.hedging.dumps import BadRowError, scan_dump
from valueattr.tables import (
    TableError,
    read_json_lines,
    read_rows,
    read_spreadsheet,
    read_table,
    read_texts,
    write_csv,
)

ROWS = [{"statement": "Oslo is\nin Norway.", "label": 1}, {"statement": "Köln, too.", "label": 0}]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet", ".txt"])
def test_formats_are_read_alike(tmp_path, suffix):
    path = tmp_path / f"texts{suffix}"
    match suffix:
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        case ".csv":
            path.write_text('statement,label\n"Oslo is\nin Norway.",1\n"Köln, too.",0\n')
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(ROWS), path)
        case ".txt":
            path.write_text("Oslo is\nKöln, too.\n")
            assert read_texts(path)[0] == ["Oslo is", "Köln, too."]
            return
    texts, table = read_texts(path)
    assert texts == [row["statement"] for row in ROWS]
    assert table.to_pydict() == {"label": [1, 0]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"label": 1}\n', "there is no column 'text'; it has label"),
        ("a.jsonl", b'{"text": 1}\n', "column 'text' holds int64, expected texts"),
        ("a.jsonl", b'{"text": "a"}\n{"text": null}\n', "row 2: `text` is None"),
        ("a.jsonl", b'{"text": "a"}\n{"text": ""}\n', "row 2: `text` is ''"),
        ("a.jsonl", b'{"text": "a"\n', "a.jsonl, line 1: not JSON"),
        ("a.jsonl", b'{"text": "a"}\n\n[1]\n', "a.jsonl, line 3: expected a JSON object, found list"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n', "a.jsonl, line 2: not UTF-8"),
        ("a.jsonl", b"", "a.jsonl: "),
        ("a.csv", b"text\na,b\n", "a.csv, row 2: found 2 cells for 1 columns"),
        ("a.csv", b"text,note\na,b\nc,\xe9\n", "a.csv, line 3: not UTF-8"),
        ("a.txt", b"a\n\xff", "a.txt, line 2: not UTF-8"),
        ("a.parquet", b"PAR1", "a.parquet: "),
        ("a.pkl", b"", "a.pkl: expected a .jsonl, .csv, .parquet or .txt file"),
    ],
)
def test_what_holds_no_texts_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=message):
        read_texts(tmp_path / name)
    with pytest.raises(TableError, match="no such file"):
        read_texts(tmp_path / "none.csv")


def test_rows_come_with_the_lines_they_end_on(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbftext,label\r\n"Oslo is\r\nin Norway.",1\r\n\r\nno\n')
    assert read_rows(tmp_path / "a.csv") == [
        (3, {"text": "Oslo is\r\nin Norway.", "label": "1"}),
        (5, {"text": "no", "label": None}),
    ]
    (tmp_path / "a.JSONL").write_text('{"text": "a"}\r\n\n  \n{"text": 1}')
    assert read_rows(tmp_path / "a.JSONL") == [(1, {"text": "a"}), (4, {"text": 1})]


def test_a_line_ends_where_editors_say_it_does(tmp_path):
    """Separators that Unicode also counts as ends of lines may stand in a JSON string."""
    rows = [{"text": "one\u2028two\x85"}, {"text": "three"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    assert read_json_lines(tmp_path / "a.jsonl") == [(1, rows[0]), (2, rows[1])]
    assert read_table(tmp_path / "a.jsonl").to_pylist() == rows
    (tmp_path / "a.txt").write_text("one\u2028two\x85\n\nthree")
    assert read_table(tmp_path / "a.txt")["text"].to_pylist() == ["one\u2028two\x85", "", "three"]


def test_a_carriage_return_alone_ends_no_line_as_in_a_scan(tmp_path):
    """What was one text to a scan was two to an audit."""
    (tmp_path / "a.txt").write_bytes(b"one\rtwo\r\nthree\r\n")
    texts = read_table(tmp_path / "a.txt")["text"].to_pylist()
    assert texts == ["one\rtwo", "three"]
    assert scan_dump([tmp_path / "a.txt"]).documents == len(texts)
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "one"}\r{"text": "two"}\r')
    with pytest.raises(TableError, match="line 1: not JSON"):
        read_rows(tmp_path / "a.jsonl")
    with pytest.raises(BadRowError, match="line 1: no JSON"):
        scan_dump([tmp_path / "a.jsonl"], field="text")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"{}\n{\n", "a.jsonl, line 2: not JSON"),
        ("a.jsonl", b"{}\n[1]\n", "a.jsonl, line 2: expected a JSON object, found list"),
        ("a.jsonl", b"{}\n\xff\n", "a.jsonl, line 2: not UTF-8"),
        ("a.csv", b"a,b\n\xff,1\n", "a.csv, line 2: not UTF-8"),
        ("a.csv", b'a\n"' + b"x" * 200_000, "a.csv, line 2: not CSV"),
        ("a.txt", b"x", "a.txt: expected a .csv or .jsonl file"),
    ],
)
def test_bad_rows_are_named_by_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=message):
        read_rows(tmp_path / name)
    with pytest.raises(TableError, match="no such file"):
        read_rows(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(TableError, match=r"folder\.csv: Is a directory"):
        read_rows(tmp_path / "folder.csv")


@pytest.mark.parametrize("read", [read_rows, read_table, read_texts])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.jsonl",
            b'{"text": "a"}\n{"text": ' + b"[" * 80_000 + b"]" * 80_000 + b"}",
            "line 2: nested deeper",
        ),
        ("a.jsonl", b'{"text": "a", "b": ' + b"[" * 128 + b"]" * 128 + b"}", "line 1: nested deeper"),
        (
            "a.jsonl",
            b'{"text": "\\ud83d\\ude00"}\n{"text": "\\ud83d"}',
            r"line 2: holds '\\ud83d', half a char",
        ),
        ("a.jsonl", b'{"text": "a", "text": "b"}', "line 1: not JSON: the key 'text' is there twice"),
        ("a.json", b'[{"text": "a"}, 1]', "row 2: expected a JSON object, found int"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "a"}\n' * 999, mtime=0)[:-9], "a.jsonl.gz: Truncated"),
        ("a.jsonl.gz", b'{"text": "a"}', "a.jsonl.gz: "),
        ("a.jsonl.zst", b"", "a.jsonl.zst: is empty"),
        ("a.csv", b"text,text\na,b\n", "there are two columns 'text'; rename one"),
        ("a.csv", b'text,n\n"a\nb",1\na,b,c\n', "a.csv, (line 4|row 3): found 3 cells for 2 columns"),
        ("a.csv", b'text,n\na,1\nb,"2\nc,3\nd,4\n', "a.csv, line 3: not CSV: unexpected end"),
    ],
)
def test_what_is_broken_is_named_by_every_reader(tmp_path, read, name, content, message):
    """Some of it ended in a RecursionError or a segmentation fault, and some in rows that nobody wrote."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=message):
        read(tmp_path / name)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".txt", ".parquet", ".arrow"])
def test_a_file_without_an_end_is_not_read(tmp_path, suffix):
    (tmp_path / f"endless{suffix}").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / f"pipe{suffix}")
    for name in ("endless", "pipe"):
        with pytest.raises(TableError, match="is no regular file"):
            read_table(tmp_path / f"{name}{suffix}")
        with pytest.raises(TableError, match="is no regular file"):
            read_spreadsheet(tmp_path / f"{name}{suffix}", ["row"])


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.txt"])
def test_a_byte_order_mark_is_no_text(tmp_path, name):
    content = {"a.jsonl": '{"text": "x"}', "a.json": '[{"text": "x"}]', "a.csv": "text\nx", "a.txt": "x"}[
        name
    ]
    (tmp_path / name).write_text(content, "utf-8-sig")
    assert read_table(tmp_path / name).to_pydict() == {"text": ["x"]}


def test_lines_may_be_compressed(tmp_path):
    lines = b'{"text": "a"}\n{"text": "b"}\n'
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines[:14]) + gzip.compress(lines[14:]))
    (tmp_path / "a.jsonl.zst").write_bytes(pa.Codec("zstd").compress(lines).to_pybytes())
    for name in ("a.jsonl.gz", "a.jsonl.zst"):
        assert read_texts(tmp_path / name)[0] == ["a", "b"]


@pytest.mark.parametrize(
    "texts",
    [
        pa.array(["a", "b"], pa.string_view()),
        pa.array(["a", "b"]).dictionary_encode(),
        pa.array(["a", "b"], pa.large_string()),
    ],
)
def test_texts_of_every_kind_of_column_are_read(tmp_path, texts):
    table = pa.table({"id": [1, 2], "text": texts})
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_file(tmp_path / "a.arrow", table.schema) as file:
        file.write_table(table)
    with pa.ipc.new_stream(tmp_path / "b.arrow", table.schema) as file:
        file.write_table(table)
    for name in ("a.parquet", "a.arrow", "b.arrow"):
        texts, others = read_texts(tmp_path / name)
        assert texts == ["a", "b"]
        assert others.to_pydict() == {"id": [1, 2]}


def test_texts_of_a_table_that_are_not_utf8_are_named_by_row(tmp_path):
    offsets = pa.array(["a", "b", "c"]).buffers()[:2]
    texts = pa.Array.from_buffers(pa.string(), 3, [*offsets, pa.py_buffer(b"a\xffc")])
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    with pytest.raises(TableError, match=r"a\.parquet, row 2: 'text' cannot be read: .*UTF8"):
        read_table(tmp_path / "a.parquet")
    table = pa.table({"a": [1], "b": [2]}).rename_columns(["a", "a"])
    pq.write_table(table, tmp_path / "b.parquet")
    with pytest.raises(TableError, match="there are two columns 'a'; rename one"):
        read_table(tmp_path / "b.parquet")


def test_a_blank_cell_is_no_value(tmp_path):
    """As a text it was a class of its own to probes, and the rows that nobody had labelled were read as one."""
    (tmp_path / "a.csv").write_text('id,label,n\na,cat,1\nb,,\nc," ",\nd,NA,2\n')
    assert read_table(tmp_path / "a.csv").to_pydict() == {
        "id": ["a", "b", "c", "d"],
        "label": ["cat", None, None, "NA"],
        "n": [1, None, None, 2],
    }


def test_values_of_rows_are_as_they_were_written(tmp_path):
    """Arrow's own reader made times of texts, and failed for lines that are longer than its blocks."""
    rows = [{"text": "2026-11-24 10:00:00", "n": 1}, {"text": "x" * 3_000_000, "n": 2.5, "more": True}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = read_table(tmp_path / "a.jsonl")
    assert table.to_pydict() == {
        "text": [row["text"] for row in rows],
        "n": [1.0, 2.5],
        "more": [None, True],
    }
    write_csv(tmp_path / "a.csv", table.select(["text"]))
    assert read_texts(tmp_path / "a.csv")[0][1] == rows[1]["text"]
    assert read_rows(tmp_path / "a.csv")[1][1]["text"] == rows[1]["text"]
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n\n{"n": "2"}\n')
    with pytest.raises(TableError, match=r"a\.jsonl, line 3: 'n' is of another type than before"):
        read_table(tmp_path / "a.jsonl")


SHEET = "row,text,label\n1,Köln; ja,1\n2,nein,0\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_sheet_is_read_as_a_spreadsheet_program_saves_it(tmp_path, encoding, separator):
    content = SHEET.replace(";", "!").replace(",", separator).replace("!", ";").replace("\n", "\r\n")
    content = content.replace("Köln; ja", '"Köln; ja"')
    (tmp_path / "a.csv").write_bytes(content.encode(encoding))
    sheet = read_spreadsheet(tmp_path / "a.csv", ["label", "row"])
    assert sheet.to_dict("records") == [
        {"row": "1", "text": "Köln; ja", "label": "1"},
        {"row": "2", "text": "nein", "label": "0"},
    ]
    assert sheet.index.tolist() == [2, 3]


def test_a_sheet_may_have_columns_and_lines_that_nobody_filled(tmp_path):
    (tmp_path / "a.csv").write_text(' row ,label,,\n1,"two\nlines",,\n, ,,\n2,"\u2028\x85",,\n,,,\n')
    sheet = read_spreadsheet(tmp_path / "a.csv", ["row", "label"])
    assert sheet.to_dict("list") == {"row": ["1", "2"], "label": ["two\nlines", "\u2028\x85"]}
    assert sheet.index.tolist() == [2, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.csv: the file is empty"),
        (b"\n\n", "a.csv: the file is empty"),
        (b"row,label\n", "a.csv: there are no rows below the header"),
        (b"row,label\n,\n , \n", "a.csv: there are no rows below the header"),
        (b"row,note\n1,2\n", "a.csv, line 1: there is no column label; found row, note"),
        (b"row,label,label\n1,2,3\n", "there are two columns 'label'; rename one"),
        (b"row,label\n1,2\n1,2,3\n", "a.csv: not CSV: .*Expected 2 fields in line 3, saw 3"),
        (b'row,label\n1,"2\n', "a.csv: not CSV: "),
        (b"PK\x03\x04\0\0row,label\n", "a.csv: not CSV; save the sheet as CSV in UTF-8"),
        (b"row,label\n1,\x81\n", "a.csv: not CSV; save the sheet as CSV in UTF-8"),
        ("row,label\n1,2\n".encode("utf-16")[:-1], "a.csv: not CSV; save the sheet as CSV in UTF-8"),
    ],
)
def test_a_sheet_that_cannot_be_read_is_named_with_the_remedy(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(TableError, match=message):
        read_spreadsheet(tmp_path / "a.csv", ["row", "label"])


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_line_captures_and_verifies(tmp_path, untrained):
    rows = [
        {"text": "The emblem of the", "start": 4, "end": 10, "label": 1},
        {"text": "in", "start": 0, "end": 2},
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = ["capture", "--model", untrained, "--texts", tmp_path / "t.jsonl", "--out", tmp_path / "s"]
    done = run(*asked, "--layers", "0,2", "--positions", "span", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "rows": 2,
        "layers": [0, 2],
        "width": 32,
        "dtype": "float32",
        "captures": ["texts"],
    }
    assert ActivationStore(tmp_path / "s").index()["label"].to_pylist() == [1, None]
    assert "2 rows are as they were written" in run("verify", tmp_path / "s").output
    shard = tmp_path / "s" / "shard-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    assert run("verify", tmp_path / "s").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "needs --model and --texts, or --vllm"),
        (["--vllm", "folder"], 2, "--vllm needs --layers"),
        (["--layers", "a"], 2, "expected all, or numbers"),
        (["--model", "none", "--texts", "none.csv"], 1, "none.csv: no such file"),
        (["--vllm", "none", "--layers", "1"], 1, "no .safetensors file"),
    ],
)
def test_bad_usage_and_failures_are_told_apart(tmp_path, arguments, code, message):
    done = run("capture", "--out", tmp_path / "s", *arguments)
    assert done.exit_code == code
    assert message in done.output


def test_no_cell_of_a_csv_file_for_people_is_a_formula(tmp_path):
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", 'a "quoted", =1', "two\n-lines", None]
    table = pa.table({"text": texts, "=kind": pa.array(texts).dictionary_encode(), "n": range(-4, 5)})
    write_csv(tmp_path / "a.csv", table)
    rows = [row for _, row in read_rows(tmp_path / "a.csv")]
    shown = [f"'{text}" for text in texts[:6]] + [*texts[6:8], ""]
    assert [row["text"] for row in rows] == [row["'=kind"] for row in rows] == shown
    assert [int(row["n"]) for row in rows] == list(range(-4, 5))


def test_texts_that_are_no_formulas_any_more_are_read_back_as_they_were(tmp_path):
    texts = ["=1+1", "-1", "@A", "\t=1", "'=1", "''-", "'quoted'", "' =1", "a", "\r=1"]
    write_csv(tmp_path / "a.csv", pa.table({"=text": texts, "row": range(len(texts))}))
    assert read_spreadsheet(tmp_path / "a.csv", ["row"])["=text"].tolist() == texts
