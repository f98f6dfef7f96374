import pytest
from rich.console import Console
from typer.testing import CliRunner

from valueattr.cli import app, render


def lexicon(*arguments):
    return CliRunner().invoke(app, ["lexicon", *map(str, arguments)])


@pytest.mark.parametrize("command", [["check"], ["list"], ["explain", "Perhaps.", "--lexicon"]])
def test_a_lexicon_that_cannot_be_read_is_named(command, tmp_path):
    done = lexicon(*command, tmp_path / "none.toml")
    assert done.exit_code == 1
    assert "none.toml" in done.stderr
    assert "Traceback" not in done.output


def test_brackets_of_an_example_are_shown_as_they_are(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text(
        '[[entry]]\nkind = "caveat"\npattern = "note that"\nexample = "[red] Note that it rains."\n'
    )
    assert "[red] Note that it rains." in lexicon("list", own).output


def test_an_unknown_kind_is_an_error_that_lists_the_kinds():
    done = lexicon("list", "--kind", "epistemics")
    assert done.exit_code == 2
    assert "--kind epistemics: there is no such kind; known: epistemic, both_sides" in done.stderr
    assert not done.stdout


@pytest.mark.parametrize("terminal", [False, True])
def test_a_pattern_is_listed_whole_however_narrow_the_terminal_is(terminal, tmp_path, monkeypatch):
    pattern = "{" + "|".join(f"word{i}" for i in range(60)) + "}"
    own = tmp_path / "own.toml"
    own.write_text(f'[[entry]]\nkind = "caveat"\npattern = "{pattern}"\nexample = "It is so."\n')
    if terminal:
        monkeypatch.setattr(
            render, "console", lambda: Console(force_terminal=True, width=60, color_system=None)
        )
    shown = lexicon("list", own).output
    if terminal:
        assert "…" not in shown
        assert all(f"word{i}" in "".join(shown.replace("caveat", "").split()) for i in (0, 59))
    else:
        assert any(pattern in line and "It is so." in line for line in shown.splitlines())


def test_a_text_that_is_not_utf_8_is_named():
    done = lexicon("explain", "\udcff")
    assert done.exit_code == 1
    assert "holds a lone surrogate" in done.stderr
