"""What `valueattr audit` keeps, replaces and prints."""

import json
import multiprocessing
import os
import random
import re
import signal
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from valueattr.cli import app

ROWS = [{"text": f"{'perhaps' if i % 3 else ''} it is {i}.", "arm": [None, "a"][i % 2]} for i in range(60)]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def dump(tmp_path):
    path = tmp_path / "dump.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def export(dump, out, *arguments):
    return run("audit", "export", dump, "--field", "text", "--by", "arm", "--out", out, *arguments)


def fill_in(sheet, separator=","):
    """Label all of a sheet with 1; only then is there a work to lose."""
    head, *lines = sheet.read_text().splitlines()
    sheet.write_text("\n".join([head, *(line.removesuffix('""') + '"1"' for line in lines)]) + "\n")


def test_a_sheet_that_was_labelled_is_not_written_over(tmp_path, dump):
    sheet = tmp_path / "sheet.csv"
    assert export(dump, sheet).exit_code == 0
    fill_in(sheet)
    labelled = sheet.read_bytes()
    again = export(dump, sheet)
    assert again.exit_code == 1
    assert again.stderr == (
        f"valueattr: {sheet} exists; choose another place for the output, or remove it\n"
        "Use --force to write over it, if nobody needs the labels in it.\n"
    )
    assert sheet.read_bytes() == labelled
    assert export(dump, sheet, "--force").exit_code == 0
    assert sheet.read_bytes() != labelled


def test_an_export_never_replaces_what_it_reads(tmp_path):
    folder = tmp_path / "dumps"
    folder.mkdir()
    dump, link = folder / "dump.csv", tmp_path / "link.csv"
    dump.write_text("text,arm\n" + "".join(f"it may be {i},a\n" for i in range(9)))
    before = dump.read_bytes()
    link.symlink_to(dump)
    for source, out in [(dump, dump), (dump, link), (link, dump)]:
        done = export(source, out, "--force")
        assert done.exit_code == 1
        assert "is an input; choose another place for the output" in done.stderr
    assert dump.read_bytes() == before
    assert sorted(os.listdir(folder)) == ["dump.csv"]


@pytest.mark.parametrize(
    ("out", "code", "message"),
    [
        ("sheet.parquet", 2, "expected a .csv file"),
        ("dump.jsonl", 2, "expected a .csv file"),
        ("folder.csv", 1, "exists"),
        ("dump.jsonl/sheet.csv", 1, "dump.jsonl is no folder"),
    ],
)
def test_a_place_that_is_no_sheet_is_refused(tmp_path, dump, out, code, message):
    (tmp_path / "folder.csv").mkdir()
    done = export(dump, tmp_path / out)
    assert done.exit_code == code
    assert message in done.stderr
    assert len(dump.read_text().splitlines()) == 60


def test_a_sheet_is_no_response_of_the_folder_that_it_is_of(tmp_path):
    """In the folder itself the import would have read the sheet as a dump."""
    folder = tmp_path / "dumps"
    folder.mkdir()
    (folder / "dump.csv").write_text("text,arm\n" + "".join(f"it may be {i},a\n" for i in range(9)))
    (folder / "README").touch()
    done = export(folder, folder / "sheet.csv")
    assert done.exit_code == 1
    assert "choose a place outside" in done.stderr
    done = export(folder, tmp_path / "sheet.csv")
    assert done.exit_code == 0
    assert f"left out {folder / 'README'}: of no known format" in done.stderr
    fill_in(tmp_path / "sheet.csv")
    done = run("audit", "import", folder, tmp_path / "sheet.csv", "--field", "text", "--json")
    assert json.loads(done.stdout)[0]["n"] == 9


def test_what_lies_beside_dumps_can_be_left_out_as_in_a_scan(tmp_path):
    """A folder with a licence in it could be scanned, and not audited."""
    folder, sheet = tmp_path / "dumps", tmp_path / "sheet.csv"
    folder.mkdir()
    (folder / "dump.csv").write_text("text,arm\n" + "".join(f"it may be {i},a\n" for i in range(9)))
    (folder / "LICENSE.txt").write_text("It may be.")
    done = export(folder, sheet)
    assert done.exit_code == 1
    assert "several formats" in done.stderr
    assert "Use --exclude to leave files or folders out" in done.stderr
    done = export(folder, sheet, "--exclude", "*.txt")
    assert done.exit_code == 0, done.output
    assert f"left out {folder / 'LICENSE.txt'}: excluded" in done.stderr
    fill_in(sheet)
    asked = ["audit", "import", folder, sheet, "--field", "text", "--json"]
    assert run(*asked).exit_code == 1
    assert json.loads(run(*asked, "--exclude", "LICENSE*").stdout)[0]["n"] == 9


def test_groups_are_shown_as_they_are(tmp_path, dump):
    """Names in brackets were taken for colours, and nulls were groups of one response."""
    rows = [row if row["arm"] is None else {**row, "arm": "[red]"} for row in ROWS]
    dump.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert export(dump, tmp_path / "sheet.csv").exit_code == 0
    fill_in(tmp_path / "sheet.csv")
    done = run("audit", "import", dump, tmp_path / "sheet.csv", "--field", "text")
    assert done.exit_code == 0, done.output
    assert [line.split()[:3] for line in done.stdout.splitlines() if " 30 " in line] == [
        ["null", "30", "30"],
        ["[red]", "30", "30"],
    ]
    done = run("audit", "import", dump, tmp_path / "sheet.csv", "--field", "text", "--json")
    assert [row["arm"] for row in json.loads(done.stdout)] == [None, "[red]"]


def test_what_is_wrong_is_one_line(tmp_path, dump):
    (tmp_path / "empty.csv").write_text("")
    for sheet in ("empty.csv", "none.csv", "dump.jsonl"):
        done = run("audit", "import", dump, tmp_path / sheet, "--field", "text")
        assert done.exit_code == 1
        assert done.stderr.startswith(f"valueattr: {tmp_path / sheet}")
        assert len(done.stderr.splitlines()) == 1


VERDICTS = [
    {
        "text": f"it is {i}.",
        "outcome": "refuse" if i % 3 else "other",
        "ann": i % 3 == 0,
        "bob": i % 3 == 0 if i % 2 else None,
    }
    for i in range(60)
]


@pytest.fixture
def verdicts(tmp_path):
    path = tmp_path / "judged.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in VERDICTS))
    return path


def export_verdict(verdicts, out, *arguments):
    return run("audit", "export", verdicts, "--field", "text", "--out", out, *arguments)


def test_a_verdict_of_any_rater_is_audited_as_the_scanners_is(tmp_path, verdicts):
    sheet = tmp_path / "sheet.csv"
    done = export_verdict(verdicts, sheet, "--verdict", "outcome", "--is", "refuse", "--per-stratum", "10")
    assert done.exit_code == 0, done.output
    head, *rows = sheet.read_text().splitlines()
    assert head == '"row","digest","kind","by","text","label"'
    flagged = [int(row.split(",")[0].strip('"')) % 3 > 0 for row in rows]
    assert sum(flagged) == 10
    assert flagged != sorted(flagged)
    fill_in(sheet)
    done = run("audit", "import", verdicts, sheet, "--field", "text", "--json")
    (shares,) = json.loads(done.stdout)
    assert (shares["n"], shares["audited"]) == (60, 20)
    assert shares["raw"] == pytest.approx(2 / 3)
    assert shares["corrected"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["--verdict", "stance", "--is", "refuse"],
            1,
            "no field 'stance'; there are text, outcome, ann, bob",
        ),
        (
            ["--verdict", "outcome", "--is", "denies"],
            1,
            "'outcome' is never 'denies'; it is 'refuse', 'other'",
        ),
        (["--verdict", "ann", "--is", "True"], 1, "'ann' is never 'True'; it is 'false', 'true'"),
        (["--verdict", "outcome", "--is", "refuse", "--by", "outcome"], 1, "cannot group by 'outcome'"),
        (["--verdict", "outcome"], 2, "--verdict names a field and --is its value"),
        (["--is", "refuse"], 2, "--verdict names a field and --is its value"),
        (
            ["--verdict", "outcome", "--is", "refuse", "--kind", "hedge"],
            2,
            "--kind is what the scanner finds",
        ),
    ],
)
def test_what_is_wrong_with_a_verdict_is_one_line(tmp_path, verdicts, arguments, code, message):
    done = export_verdict(verdicts, tmp_path / "sheet.csv", *arguments)
    assert done.exit_code == code
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "sheet.csv").exists()


def test_agreement_prints_alpha_of_all_raters_and_of_each_pair(verdicts):
    done = run("audit", "agreement", verdicts, "ann", "bob")
    assert done.exit_code == 0, done.output
    printed = [line.split() for line in done.stdout.splitlines()]
    assert ["ann,", "bob", "30", "1.000", "1.000"] in printed
    done = run("audit", "agreement", verdicts, "outcome", "ann", "bob")
    assert len(done.stdout.splitlines()) == len(printed) + 3
    done = run("audit", "agreement", verdicts, "ann", "bob", "outcome", "--json")
    rows = json.loads(done.stdout)
    assert rows[1] == {"raters": ["ann", "bob"], "n": 30, "same": 1.0, "alpha": 1.0}
    assert rows[2]["raters"] == ["ann", "outcome"]
    assert rows[2]["alpha"] < 0


def test_agreement_that_is_not_defined_is_said_to_be_so(tmp_path):
    (tmp_path / "a.csv").write_text("[red],b\nx,x\nx,\n")
    done = run("audit", "agreement", tmp_path / "a.csv", "[red]", "b")
    assert [*done.stdout.split()][-6:] == ["[red],", "b", "1", "1.000", "not", "defined"]
    assert json.loads(run("audit", "agreement", tmp_path / "a.csv", "[red]", "b", "--json").stdout) == [
        {"raters": ["[red]", "b"], "n": 1, "same": 1.0, "alpha": None}
    ]


def test_what_is_wrong_with_columns_that_agree_is_one_line(verdicts):
    for columns, message in [
        (["ann", "carl"], "no field 'carl'; there are text, outcome, ann, bob"),
        (["ann"], "two raters or more"),
    ]:
        done = run("audit", "agreement", verdicts, *columns)
        assert done.exit_code == 1
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def _export_in_a_process(dump, sheet, seed, started):
    from valueattr.cli import app

    started.set()
    app(
        ["audit", "export", str(dump), "--field", "text", "--out", str(sheet), "--seed", str(seed), "--force"]
    )


@pytest.mark.parametrize("kills", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_an_export_that_is_killed_leaves_the_old_sheet_or_the_new_one(tmp_path, dump, kills):
    # Its server has imported what an export needs, so that the kills meet the export and not the imports.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["valueattr.cli.audit", "valueattr.hedging.audit"])
    sheet = tmp_path / "out" / "sheet.csv"

    def start(seed):
        started = context.Event()
        process = context.Process(target=_export_in_a_process, args=(dump, sheet, seed, started))
        process.start()
        started.wait()
        return process, time.perf_counter()

    whole, took = [], 0.0
    for seed in (0, 1):
        process, began = start(seed)
        process.join()
        took = max(took, time.perf_counter() - began)
        whole.append(sheet.read_bytes())
    assert whole[0] != whole[1]
    rng, ends = random.Random(0), []
    for kill in range(kills):
        process, _ = start(kill % 2)
        time.sleep(rng.uniform(0, took))
        process.kill()
        process.join()
        ends.append(process.exitcode)
        assert sheet.read_bytes() in whole
    assert -signal.SIGKILL in ends
    assert export(dump, sheet, "--force").exit_code == 0
    assert os.listdir(sheet.parent) == ["sheet.csv"]


PAGE = Path(__file__).parents[2] / "docs" / "auditing.md"


def test_the_example_of_the_page_prints_what_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```(\w*)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    export_command, _, import_command = blocks[0][1].strip().splitlines()
    (make_dump, label, in_python), (printed,) = (
        [code for kind, code in blocks if kind == wanted] for wanted in ("python", "")
    )
    exec(make_dump, {})
    assert run(*export_command.split()[1:]).exit_code == 0
    exec(label, {})
    done = run(*import_command.split()[1:])
    assert [line.split() for line in done.stdout.strip().splitlines()] == [
        line.split() for line in printed.strip().splitlines()
    ]
    names = {}
    exec(in_python, names)
    assert names["shares"]["n"].tolist() == [300, 300]
