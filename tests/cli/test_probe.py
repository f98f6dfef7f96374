import json

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.builders import a_store
from tests.probing.test_sweep import columns, problem
from valueattr.cli import app, render
from valueattr.probing import KINDS

FEW = ["--folds", "3", "--l2", "0.01,1"]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in ("probe", *arguments)])


@pytest.fixture
def store(tmp_path):
    X, codes, _ = problem()
    wording = [f"w{i}" for i in np.arange(90) // 30]
    a_store(
        tmp_path / "acts",
        {0: X, 4: 5 * codes[:, None] + X},
        columns(codes, np.arange(90) % 30, wording=wording, other=codes[::-1]),
    )
    return tmp_path / "acts"


def test_shows_the_best_layer_first_and_keeps_every_line(store, tmp_path):
    done = run(
        store, "--labels", "label", "--groups", "subject", "--kinds", ",".join(KINDS), "--out", tmp_path / "p.parquet",
        "--wordings", "wording", "--folds", 3,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    lines = done.stdout.strip().splitlines()
    assert lines[0].split() == [
        *("layer", "kind", "accuracy", "[95%]", "AUROC", "[95%]", "selectivity", "[95%]", "compression"),
    ]
    assert lines[2].split()[0] == "4"
    assert "label: 90 rows in 30 groups, 2 classes, the most frequent ." in done.stdout
    assert "Written to" in done.stdout
    assert max(map(len, lines)) <= 120
    assert len(pd.read_parquet(tmp_path / "p.parquet")) == 2 * len(KINDS)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_many_lines_are_cut_and_the_choice_is_owned_up_to(store):
    done = run(store, "--labels", "label,other", "--seeds", 4, "--kinds", "mean-difference")
    assert done.exit_code == 0, done.output
    assert "The best 12 of 16, which flatters the first; --out keeps all" in done.stdout


def test_as_json(store):
    done = run(store, "--labels", "label", "--layers", "4", "--apply-to", f"same={store}", "--json", *FEW)
    assert done.exit_code == 0, done.output
    lines = json.loads(done.stdout)
    assert [(line["store"], line["centre"]) for line in lines] == [
        ("fitted", "own"),
        ("same", "own"),
        ("same", "recentred"),
    ]
    assert lines[0]["selectivity"] is None
    assert len(lines[0]["l2"]) == 3
    shown = run(store, "--labels", "label", "--layers", "4", "--apply-to", f"same={store}", *FEW)
    assert "same, recentred" in shown.stdout


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_labels_from_a_file(store, tmp_path, suffix):
    table = pd.DataFrame({"note": "x", "label": ["yes", "no"] * 30, "id": [f"t{i}" for i in range(60)]})
    file = tmp_path / f"labels.{suffix}"
    if suffix == "csv":
        table.to_csv(file, index=False)
    elif suffix == "jsonl":
        table.to_json(file, orient="records", lines=True)
    else:
        table.to_parquet(file)
    done = run(store, "--labels", "label", "--labels-file", file, "--groups", "subject", "--json", *FEW)
    assert done.exit_code == 0, done.output
    assert {line["n"] for line in json.loads(done.stdout)} == {60}


def test_weights(store, tmp_path):
    ids = [f"t{i}" for i in range(90)]
    file = tmp_path / "weights.csv"
    pd.DataFrame({"id": ids, "label": ["yes", "no", "no"] * 30, "weight": [0.0] * 10 + [1.0] * 80}).to_csv(
        file
    )
    found = []
    for option in ([], ["--sample-weight", "weight"], ["--balanced"]):
        done = run(store, "--labels", "label", "--labels-file", file, "--json", *option, *FEW)
        assert done.exit_code == 0, done.output
        found.append(json.loads(done.stdout)[0])
    plain, weighted, balanced = found
    assert (plain["n"], weighted["n"], balanced["n"]) == (90, 80, 90)
    assert plain["accuracy"] != balanced["accuracy"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--labels", "label", "--layers", "a"], 2, "expected all, or numbers"),
        (["--labels", "label", "--l2", "a"], 2, "--l2 a: expected numbers"),
        (["--labels", "label", "--kinds", "cubic"], 2, "--kinds cubic: expected some of logistic"),
        (["--labels", "label", "--apply-to", "acts"], 2, "--apply-to acts: expected NAME=STORE"),
        (["--labels", "label", "--out", "p.csv"], 2, "expected a .parquet file"),
        (["--labels", "label", "--out", "none/p.parquet"], 2, "in a folder that is there"),
        (["--labels", "label", "--folds", "1"], 2, "--folds"),
        ([], 2, "--labels"),
        (["--labels", "label", "--l2", "-1"], 1, "l2 is [-1.0]"),
        (["--labels", "label", "--layers", "7"], 1, "layer 7 is not in the store; it has 0, 4"),
        (["--labels", "none"], 1, "there is no column 'none'"),
        (["--labels", "label", "--labels-file", "none.csv"], 1, "none.csv: no such file"),
        (["--labels", "label", "--apply-to", "policy=none"], 1, "none"),
        (["--labels", "label", "--wordings", "wording"], 1, "wordings need groups"),
    ],
)
def test_bad_usage_and_failures_are_told_apart(store, arguments, code, message):
    done = run(store, *arguments)
    assert done.exit_code == code
    assert message in done.output
    assert "Traceback" not in done.output


def test_what_is_no_store_and_labels_that_are_no_table(store, tmp_path):
    assert run(tmp_path / "none", "--labels", "label").exit_code == 1
    (tmp_path / "l.csv").write_text("id,label\nt0,1\n")
    done = run(store, "--labels", "truth", "--labels-file", tmp_path / "l.csv")
    assert done.exit_code == 1
    assert "there is no column 'truth'; it has id, label" in done.output


def test_a_failure_leaves_what_was_written_before(store, tmp_path):
    out = tmp_path / "p.parquet"
    out.write_bytes(b"before")
    assert run(store, "--labels", "none", "--out", out, "--force").exit_code == 1
    assert out.read_bytes() == b"before"


def test_a_table_that_is_there_is_replaced_by_force_only(store, tmp_path):
    out = tmp_path / "p.parquet"
    out.write_bytes(b"before")
    done = run(store, "--labels", "label", "--out", out, *FEW)
    assert done.exit_code == 1
    assert "p.parquet exists" in done.output
    assert "--force replaces it" in done.output
    assert out.read_bytes() == b"before"
    assert run(store, "--labels", "label", "--out", out, "--force", *FEW).exit_code == 0
    assert len(pd.read_parquet(out)) == 2


def test_the_labels_are_not_overwritten_by_what_is_read_of_them(store, tmp_path):
    file = tmp_path / "labels.parquet"
    pd.DataFrame({"id": [f"t{i}" for i in range(90)], "truth": ["yes", "no", "no"] * 30}).to_parquet(file)
    before = file.read_bytes()
    done = run(store, "--labels", "truth", "--labels-file", file, "--out", file, "--force", *FEW)
    assert done.exit_code == 1
    assert "labels.parquet is an input" in done.output
    assert file.read_bytes() == before


def test_blank_labels_of_a_csv_file_are_left_out_and_counted(store, tmp_path):
    file = tmp_path / "l.csv"
    rows = [f"t{i},{['yes', 'no', '', ' '][i % 4]}" for i in range(80)]
    file.write_text("id,truth\n" + "\n".join(rows) + "\n")
    done = run(store, "--labels", "truth", "--labels-file", file, *FEW)
    assert done.exit_code == 0, done.output
    assert (
        "truth: 40 rows in 40 groups, 2 classes, the most frequent .500; 50 rows without a label"
        in done.output
    )


def test_a_capture_is_chosen_where_ids_collide(tmp_path):
    X, codes, group = problem()
    own = columns(codes, group)
    a_store(tmp_path / "acts", {0: np.concatenate([X, X])}, own, own, captures=("a", "b"))
    file = tmp_path / "l.csv"
    pd.DataFrame({"id": own["id"], "truth": codes}).to_csv(file, index=False)
    arguments = [tmp_path / "acts", "--labels", "truth", "--labels-file", file, "--json", *FEW]
    done = run(*arguments)
    assert done.exit_code == 1
    assert "90 ids of the labels are of texts in several captures" in done.output
    assert "--capture NAME" in done.output
    done = run(*arguments, "--capture", "b")
    assert done.exit_code == 0, done.output
    assert {line["n"] for line in json.loads(done.stdout)} == {90}


def test_a_terminal_sees_a_bar(store, monkeypatch):
    terminal = Console(stderr=True, force_terminal=True, width=100)
    monkeypatch.setattr(render, "console", lambda errors=False: terminal if errors else Console(width=100))
    done = run(store, "--labels", "label", *FEW)
    assert done.exit_code == 0, done.output
    assert "probes, " in done.output


def test_help_has_an_example():
    assert "Example: valueattr probe acts --labels label" in run("--help").output.replace("\n", " ")
