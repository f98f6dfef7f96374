import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from valueattr.activations import ActivationStore
from valueattr.cli import app
from valueattr.tables import TableError, read_json_lines, read_rows, read_table, read_texts, write_csv

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
        ("a.csv", b"text\na,b\n", "a.csv: "),
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


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"{}\n{\n", "a.jsonl, line 2: not JSON"),
        ("a.jsonl", b"{}\n[1]\n", "a.jsonl, line 2: expected a JSON object, found list"),
        ("a.jsonl", b"{}\n\xff\n", "a.jsonl, line 2: not UTF-8"),
        ("a.csv", b"a,b\n\xff,1\n", "a.csv, line 2: not UTF-8"),
        ("a.csv", b"a\n" + b"x" * 200_000, "a.csv, line 2: not CSV"),
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
