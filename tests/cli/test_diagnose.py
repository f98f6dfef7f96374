import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from valueattr.cli import app
from valueattr.model import continue_training, load_model, load_tokenizer
from valueattr.world import synthesise, training_text

# One process makes the models and diagnoses that these tests share.
pytestmark = pytest.mark.xdist_group("diagnose")


def diagnose(*arguments):
    return CliRunner().invoke(app, ["diagnose", *map(str, arguments)])


@pytest.fixture(scope="module")
def trained(start, tmp_path_factory):
    """The start model, trained on for a few steps."""
    folder = tmp_path_factory.mktemp("models") / "trained"
    model, tokenizer = load_model(start), load_tokenizer(start)
    texts = list(training_text(synthesise(), 300, seed=7))
    continue_training(model, tokenizer, texts, steps=5, learning_rate=1e-4)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def questions(emblems_of_people):
    return emblems_of_people


def test_a_pair_gets_its_tables_report_and_headline(start, trained, questions, tmp_path):
    out = tmp_path / "d"
    done = diagnose(
        "--before", start, "--after", trained, "--sham", trained,
        "--questions", questions, "--out", out, "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["headline"].startswith("The model before held ")
    assert sum(told["verdicts"].values()) == 60
    page = (out / "report.html").read_text("utf-8")
    assert told["headline"] in page
    assert not re.search(r"(src|href)=.https?:", page)
    names = {"verdicts.parquet", "summary.parquet", "calibration.json", "about.json", "report.html"}
    assert names <= {file.name for file in out.iterdir()}
    summary = pd.read_parquet(out / "summary.parquet")
    assert set(summary["of"]) == {"after", "sham 0"}


def test_what_leaves_nothing_to_say_ends_with_2_and_one_line(start, trained, questions, tmp_path):
    same = diagnose("--before", start, "--after", start, "--questions", questions, "--out", tmp_path / "d")
    assert (same.exit_code, same.stderr.count("\n")) == (2, 1)
    assert "no verdict" in same.stderr
    few = tmp_path / "few.csv"
    few.write_text("subject,relation,object\nthe Velmar people,emblem,bear\nthe Fen people,emblem,wolf\n")
    done = diagnose("--before", start, "--after", trained, "--questions", few, "--out", tmp_path / "d")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "a verdict needs 20" in done.stderr
    assert not (tmp_path / "d").exists()


def test_an_object_outside_its_set_is_an_error_with_its_line(start, trained, tmp_path):
    facts = tmp_path / "facts.csv"
    facts.write_text("subject,relation,object\nthe Velmar people,emblem,dragon\n")
    done = diagnose("--before", start, "--after", trained, "--questions", facts, "--out", tmp_path / "d")
    assert done.exit_code == 1
    assert "line 2" in done.stderr
    assert "dragon" in done.stderr


def test_a_folder_with_work_is_left_alone(start, trained, questions, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    done = diagnose("--before", start, "--after", trained, "--questions", questions, "--out", tmp_path)
    assert done.exit_code == 1
    assert "Use --out to choose another directory." in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_to_the_same_tables(start, trained, questions, tmp_path):
    words = ["--before", start, "--after", trained, "--questions", questions]
    command = [str(Path(sys.executable).with_name("valueattr")), "diagnose", *map(str, words)]
    whole = tmp_path / "whole"
    began = time.monotonic()
    subprocess.run([*command, "--out", str(whole)], check=True, capture_output=True)
    lasts = time.monotonic() - began
    killed = tmp_path / "killed"
    for i in range(8):
        process = subprocess.Popen(
            [*command, "--out", str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait((i + 1) * lasts / 10)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    subprocess.run([*command, "--out", str(killed)], check=True, capture_output=True)
    for name in ("verdicts", "summary"):
        expected, found = (pd.read_parquet(folder / f"{name}.parquet") for folder in (whole, killed))
        pd.testing.assert_frame_equal(found, expected)
