import io
import json

import pytest
import typer
from rich.console import Console

from valueattr.cli import render


class SomeError(Exception):
    pass


class OtherError(SomeError):
    pass


def test_a_failure_is_a_message_and_an_exit_code(capsys):
    with pytest.raises(typer.Exit) as ended, render.failures(SomeError, hints={OtherError: "Use --other."}):
        raise SomeError("It broke.")
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == "valueattr: It broke.\n"


def test_a_hint_belongs_to_a_class_of_errors(capsys):
    with pytest.raises(typer.Exit), render.failures(SomeError, hints={OtherError: "Use --other."}):
        raise OtherError("It broke.")
    assert capsys.readouterr().err == "valueattr: It broke.\nUse --other.\n"


def test_what_is_not_expected_is_not_hidden():
    with pytest.raises(KeyError), render.failures(SomeError):
        raise KeyError


def test_json_is_one_line(capsys):
    render.as_json({"a": [1, 2], "b": "x\ny"})
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"a": [1, 2], "b": "x\ny"}


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_run_shows_bars_on_a_terminal_and_lines_in_a_pipe(is_terminal):
    written = io.StringIO()
    console = Console(file=written, force_terminal=is_terminal, width=100)
    progress = render.run_progress(console)
    progress.say("a line [with] brackets, 3 of them")
    with progress.phase("arms", 2, "steps") as bar:
        bar.update(1, "half")
        bar.update(2, "whole")
    text = written.getvalue()
    assert "arms" in text
    assert "2/2" in text
    assert "whole" in text
    assert ("\x1b[" in text) == is_terminal
    if not is_terminal:
        assert len(text.splitlines()) == 2


@pytest.mark.parametrize("dense", [True, False])
def test_a_table_fits_every_width_and_keeps_every_word(dense):
    table = render.table("arm", "what it does", "n", "share", numbers=("n", "share"), dense=dense)
    cells = [
        ("dpo", "trains on pairs", "12,345", ".517 \\[.508, .526]"),
        ("x" * 30, "", "1", "-.5 \\[-1, .1]"),
    ]
    for row in cells:
        table.add_row(*row)
    for width in range(12, 110):
        written = io.StringIO()
        Console(file=written, width=width).print(table)
        text = written.getvalue()
        assert max(map(len, text.splitlines())) <= width
        assert text.count("x") == 30, width
        assert "…" not in text
        if width > 45:
            for word in ("dpo", "pairs", "12,345", ".517 [.508, .526]", "-.5 [-1, .1]", "share"):
                assert word in text, width


def test_a_wide_table_stands_side_by_side_and_a_narrow_one_row_by_row():
    table = render.table("kind", "per 100 words", numbers=["per 100 words"])
    table.add_row("hedge", ".1")
    table.add_row("refusal", ".2")
    for width, expected in [
        (40, ["kind per 100 words", "hedge .1", "refusal .2"]),
        (21, ["kind hedge", "per 100 words .1", "", "kind refusal", "per 100 words .2"]),
    ]:
        written = io.StringIO()
        Console(file=written, width=width).print(table)
        lines = [
            " ".join(line.split()) for line in written.getvalue().strip().splitlines() if "─" not in line
        ]
        assert lines == expected
