import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from valueattr.cli import app


def run(*arguments):
    return CliRunner().invoke(app, ["run", *map(str, arguments)])


def test_a_directory_that_is_taken_can_be_left_for_another(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    done = run("e1", "--preset", "smoke", "--out", tmp_path)
    assert done.exit_code == 1
    assert "is not empty and holds no run" in done.stderr
    assert "Use --out to choose another directory." in done.stderr


def test_what_does_not_exist_is_bad_usage(tmp_path):
    for arguments, message in (
        (["e9"], "unknown experiment 'e9'; known: e1, e2, e3, all"),
        (["e1", "--preset", "huge"], "unknown preset 'huge'"),
        (["e3", "--vary", "family"], "--vary takes prompt-family or span-noise"),
        (["all", "--vary", "span-noise"], "only with e3"),
        (["e1", "--seeds", "0"], "--seeds"),
        (["e1", "--answers", "styled"], "--answers styled needs --model and --questions"),
        (["e1", "--answers", "natural", "--model", "m"], "--answers natural needs --model and --questions"),
        (
            ["e3", "--answers", "natural"],
            "--answers natural has no arms on the framing of answers, which e3 is about",
        ),
    ):
        done = run(*arguments, "--out", tmp_path / "r")
        assert done.exit_code == 2
        assert message in done.stderr
        assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("place", ["file", "file/run", "/proc/run", "/dev/null"])
def test_an_output_that_cannot_be_a_directory_is_one_line(tmp_path, place):
    (tmp_path / "file").write_text("mine")
    done = run("e1", "--preset", "smoke", "--out", tmp_path / place)
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert place in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_the_page_over_all_experiments_replaces_no_page_of_others(tmp_path):
    (tmp_path / "report.html").write_text("mine")
    done = run("all", "--preset", "smoke", "--out", tmp_path)
    assert done.exit_code == 1
    assert "report.html is there and of no run" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "mine"


def test_a_world_that_probes_cannot_read_is_refused_before_anything_is_written(tmp_path):
    docs = (Path(__file__).parents[2] / "docs" / "worlds.md").read_text("utf-8")
    rows = [json.loads(line) for line in docs.split("```json\n")[1].split("```")[0].splitlines()]
    rows[0]["held_out"] = rows[0]["held_out"][:1]
    (tmp_path / "world.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = run("e1", "--preset", "smoke", "--facts", tmp_path / "world.jsonl", "--out", tmp_path / "run")
    assert done.exit_code == 1
    assert "two or more held-out statements of each relation; 'river' has 1" in done.stderr
    assert not (tmp_path / "run").exists()
