import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from valueattr.cli import app, render

ROWS = [{"response": "Perhaps it is copper."}, {"response": "It is."}]


def scan(*arguments):
    return CliRunner().invoke(app, ["scan", *map(str, arguments)])


@pytest.fixture
def dump(tmp_path):
    path = tmp_path / "dump.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.fixture
def table(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "dump.parquet")
    return tmp_path / "dump.parquet"


@pytest.mark.parametrize("kind", ["dump", "table"])
def test_scanning_imports_neither_pandas_nor_torch_nor_matplotlib(kind, request, tmp_path, modules_after):
    path = request.getfixturevalue(kind)
    options = ["--out", tmp_path / "out", "--spans"]
    assert not modules_after("scan", path, *options) & {"pandas", "torch", "matplotlib", "scipy"}
    assert pq.read_metadata(tmp_path / "out" / "spans.parquet").num_rows == 1


def test_the_summary_counts_phrases_and_texts(dump):
    shown = scan(dump)
    assert shown.exit_code == 0
    row = next(line.split() for line in shown.output.splitlines() if "epistemic" in line)
    assert row == ["epistemic", "1", "16.667", "50.0%"]
    assert "2 texts, 6 words; 0.0% hold nothing but hedges" in shown.output
    summary = json.loads(scan(dump, "--json").stdout)
    assert summary["kinds"]["epistemic"] == summary["with_kind"]["epistemic"] == 1


def test_a_failure_says_which_option_helps(dump, tmp_path):
    (tmp_path / "out.parquet").touch()
    pq.write_table(pa.table({"response": [[{"role": "user"}]]}), tmp_path / "chat.parquet")
    for arguments, message, hint in (
        ([dump, "--field", "answer"], "line 1: answer: there is no such field", "Use --on-error skip"),
        (
            [dump, "--out", tmp_path / "out.parquet"],
            "out.parquet exists",
            "Use --out to choose another place, or --force",
        ),
        ([tmp_path / "chat.parquet"], "expected texts, found list", "Use --chat"),
    ):
        done = scan(*arguments)
        assert done.exit_code == 1
        assert message in done.stderr
        assert done.stderr.splitlines()[-1].startswith(hint)
    assert "Use" not in scan(tmp_path / "none.jsonl").stderr


def test_a_terminal_sees_a_bar(dump, monkeypatch):
    from rich.console import Console

    monkeypatch.setattr(
        render, "console", lambda errors=False: Console(stderr=errors, force_terminal=errors, width=100)
    )
    assert "texts" in scan(dump).stderr


def test_what_was_read_and_left_is_said(dump, tmp_path):
    (tmp_path / "LICENSE.txt").write_text("Perhaps.")
    done = scan(tmp_path)
    assert done.exit_code == 1
    assert "several formats (1 .jsonl, 1 .txt)" in done.stderr
    assert "Use --exclude" in done.stderr
    for i in range(7):
        (tmp_path / f"{i}.md").touch()
    done = scan(tmp_path, "--exclude", "*.txt")
    assert done.exit_code == 0
    assert "Read 1 file(s)." in done.stdout
    assert f"Left out 1 (excluded): {tmp_path}/LICENSE.txt\n" in done.stdout
    assert "Left out 7 (of no known format): " in done.stdout
    summary = json.loads(scan(tmp_path, "--exclude", "*.txt", "--json").stdout)
    assert summary["files"] == [str(dump)]
    assert len(summary["left_out"]) == 8


def test_an_output_is_written_over_only_by_force(dump, tmp_path):
    out = tmp_path / "out.csv"
    assert scan(dump, "--out", out).exit_code == 0
    assert out.read_text().startswith('"source","row","words"')
    assert scan(dump, "--out", out).exit_code == 1
    assert scan(dump, "--out", out, "--force").exit_code == 0
    done = scan(dump, "--out", tmp_path / "out.xlsx")
    assert done.exit_code == 1
    assert "expected a name that ends in .parquet or .csv" in done.stderr


def test_twenty_thousand_threads_are_as_many_as_there_are_cores(dump):
    assert scan(dump, "--threads", 20_000).exit_code == 0


def test_paths_and_fields_that_are_not_utf_8_end_in_no_traceback(dump, tmp_path):
    odd = dump.rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jsonl"))
    out = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.csv")
    done = scan(odd, "--out", out, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["files"] == [f"{tmp_path}/\\xff.jsonl"]
    assert scan(odd, "--out", out, "--force").exit_code == 0
    assert scan(odd, "--field", "\udcff").exit_code == 1
