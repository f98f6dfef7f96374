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
