"""`valueattr capture`, `verify` and `rebuild`: what they print, and how they end."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from valueattr.activations import ActivationStore
from valueattr.cli import app


def run(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    file = tmp_path_factory.mktemp("texts") / "t.jsonl"
    rows = [{"text": f"The emblem of {name}", "id": name, "label": i % 2} for i, name in enumerate("abcd")]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture(scope="module")
def captured(untrained, texts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("captured") / "acts"
    assert run("capture", "--model", untrained, "--texts", texts, "--out", folder).exit_code == 0
    return folder


@pytest.fixture
def acts(captured, tmp_path):
    return shutil.copytree(captured, tmp_path / "acts")


def contents(folder: Path):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_journal_that_was_lost_cost_the_shards(acts, untrained, texts):
    before = ActivationStore(acts).rows
    (acts / "journal.jsonl").unlink()
    there = contents(acts)
    for command in (
        ["verify", acts],
        ["probe", acts, "--labels", "label"],
        ["capture", "--model", untrained, "--texts", texts, "--out", acts],
    ):
        done = run(*command)
        assert done.exit_code == 1
        assert "journal.jsonl: it is missing or was cut" in done.output
        assert f"valueattr rebuild {acts} does that" in done.output
    assert {name: content for name, content in contents(acts).items() if name != ".lock"} == {
        name: content for name, content in there.items() if name != ".lock"
    }
    done = run("rebuild", acts)
    assert done.exit_code == 0, done.output
    assert done.output == "4 rows; lines of the journal that were kept: 0, that are new: 1\n"
    assert ActivationStore(acts).rows == before
    assert run("verify", acts).exit_code == 0


def test_verify_says_what_it_covers(acts):
    done = run("verify", acts)
    assert (done.exit_code, done.stderr) == (0, "")
    assert (
        done.stdout == "4 rows are as they were written: 1 shard and 1 table of texts have their checksums\n"
    )
    (acts / "texts-texts.parquet.xxh3").unlink()
    done = run("verify", acts)
    assert done.exit_code == 0
    assert "The texts of capture 'texts' have no checksum; they were only read" in done.stderr
    (acts / "texts-texts.parquet").write_bytes(b"PAR1")
    done = run("verify", acts)
    assert done.exit_code == 1
    assert "texts-texts.parquet" in done.output


def test_rebuild_of_what_is_no_store(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        done = run("rebuild", folder)
        assert done.exit_code == 1
        assert str(folder) in done.output
    assert list(tmp_path.iterdir()) == []


def test_another_model_is_refused(acts, untrained, texts, tmp_path):
    other = shutil.copytree(untrained, tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] + 1
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    for name in ("texts", "more"):
        done = run("capture", "--model", other, "--texts", texts, "--out", acts, "--name", name)
        assert done.exit_code == 1
        assert f"holds activations of another model: weights differ (there {untrained}" in done.output


def test_a_capture_prints_one_line_and_nothing_on_standard_error(untrained, texts, tmp_path):
    command = [sys.executable, "-c", "from valueattr.cli import app; app()", "capture"]
    command += ["--model", str(untrained), "--texts", str(texts), "--out", str(tmp_path / "s")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("4 rows of 3 layers, 32 float32 values each")


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([{"text": "a", "token": 1}], [], "a column 'token', which the store has of its own"),
        ([{"text": "a " * 600}], [], "the model reads at most 256"),
        (
            [{"text": "a", "start": "x", "end": 1}],
            ["--positions", "span"],
            "needs a whole number in column 'start'",
        ),
        ([{"text": "a", "id": None}, {"text": "b", "id": "x"}], [], "row 0 of the table has no id"),
    ],
)
def test_what_cannot_be_captured_ends_in_a_line(untrained, tmp_path, rows, options, message):
    file = tmp_path / "t.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run("capture", "--model", untrained, "--texts", file, "--out", tmp_path / "s", *options)
    assert done.exit_code == 1
    assert message in done.output
    assert len(done.output.strip().splitlines()) == 1
