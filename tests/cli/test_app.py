"""What holds of all commands."""

import os
import re

import pytest
import typer
from typer.testing import CliRunner

from valueattr.cli import app

HEAVY = {"jinja2", "matplotlib", "numpy", "pandas", "pyarrow", "pydantic", "scipy", "torch"}


def leaves(command, path=()):
    """Every command that does something, with the words that name it."""
    if not hasattr(command, "commands"):
        return [(path, command)]
    return [leaf for name, inner in command.commands.items() for leaf in leaves(inner, (*path, name))]


COMMANDS = {" ".join(path): command for path, command in leaves(typer.main.get_command(app))}
every_command = pytest.mark.parametrize("name", COMMANDS)


def test_the_commands_are_those_that_are_documented():
    assert set(COMMANDS) == {
        *("run", "diagnose", "report", "compare", "scan", "capture", "probe", "verify", "rebuild"),
        *("lexicon check", "lexicon list", "lexicon explain", "audit export", "audit import"),
        *("audit agreement", "questions check", "questions known", "export inspect"),
    }


@every_command
def test_every_parameter_is_explained_in_whole_sentences(name):
    for parameter in COMMANDS[name].params:
        assert parameter.help, parameter.name
        assert parameter.help[0].isupper(), parameter.help
        assert parameter.help.endswith("."), parameter.help


@every_command
def test_help_says_what_the_command_does_and_ends_with_an_example_on_one_line(name):
    shown = CliRunner().invoke(app, [*name.split(), "--help"])
    assert shown.exit_code == 0
    lines = [line.strip() for line in shown.output.strip().splitlines()]
    assert lines[2].endswith(".")
    assert lines[-1].startswith(f"Example: valueattr {name} ")


@every_command
def test_h_is_short_for_help(name):
    for words in ([], name.split()[:1], name.split()):
        short, long = (CliRunner().invoke(app, [*words, option]) for option in ("-h", "--help"))
        assert short.exit_code == 0
        assert short.output == long.output
        assert "-h, --help" in short.output


@every_command
def test_the_options_of_an_example_exist(name):
    command = COMMANDS[name]
    known = {option for parameter in command.params for option in parameter.opts}
    used = {word for word in command.epilog.split() if word.startswith("--")}
    assert used <= known


def test_the_overview_names_every_command_and_cuts_no_sentence():
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "Measure what RLHF does to a language model's knowledge and candour." in shown
    for name in COMMANDS:
        assert f"\n  {name.split()[0]} " in shown
    for group in ([], ["lexicon"], ["audit"]):
        assert "..." not in CliRunner().invoke(app, [*group, "--help"]).output.split("Commands:")[1]


def test_help_imports_nothing_heavy(modules_after):
    assert not modules_after("--help") & HEAVY


def test_what_is_not_understood_is_bad_usage():
    for arguments in (["fly"], ["scan"], ["scan", "a.jsonl", "--threads", "0"], ["lexicon", "fly"], ["run"]):
        assert CliRunner().invoke(app, arguments).exit_code == 2


# What makes a terminal of a pipe.
TERMINAL = {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "40"}


@pytest.mark.parametrize("width", ["20", "40", "80", "200"])
def test_a_narrow_terminal_hides_nothing(width):
    """Rich cut patterns off and left out whole columns at 40 characters."""
    wide = CliRunner().invoke(app, ["lexicon", "list"]).output
    narrow = (
        CliRunner()
        .invoke(app, ["lexicon", "list"], env={**TERMINAL, "COLUMNS": width, "NO_COLOR": "1"})
        .output
    )
    assert "…" not in narrow
    assert max(map(len, narrow.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines())) <= int(width)
    for head in ("kind", "strength", "pattern", "example"):
        assert head in narrow
    for letter in set(wide) - {*" ─\n"}:
        assert narrow.count(letter) >= wide.count(letter), letter


def test_no_color_means_none():
    for arguments in (["lexicon", "explain", "It may rain."], ["lexicon", "check", "none.toml"]):
        coloured = CliRunner().invoke(app, arguments, env=TERMINAL, color=True).output
        plain = CliRunner().invoke(app, arguments, env={**TERMINAL, "NO_COLOR": "1"}, color=True).output
        assert "\x1b[" in coloured
        assert not re.search(r"\x1b\[[0-9;]*[34][0-9]", plain)


def test_a_name_that_is_no_text_can_be_printed(tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.csv")
    (tmp_path / "dump.csv").write_text("text\nIt may be.\nIt is.\n")
    arguments = ["audit", "export", str(tmp_path / "dump.csv"), "--field", "text", "--out", name]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "2 texts in " in done.output
    assert os.path.exists(name)
