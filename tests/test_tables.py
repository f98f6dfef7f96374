import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from valueattr.activations import ActivationStore
from valueattr.cli import app
from valueattr.tables import TextsError, read_texts

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
        ("a.jsonl", b'{"text": "a"\n', "a.jsonl: "),
        ("a.jsonl", b"", "a.jsonl: "),
        ("a.csv", b"text\na,b\n", "a.csv: "),
        ("a.txt", b"\xff", "a.txt: "),
        ("a.parquet", b"PAR1", "a.parquet: "),
        ("a.pkl", b"", "of no known format; known: .jsonl"),
    ],
)
def test_what_holds_no_texts_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TextsError, match=message):
        read_texts(tmp_path / name)
    with pytest.raises(TextsError, match="no such file"):
        read_texts(tmp_path / "none.csv")


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
