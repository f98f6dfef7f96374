"""What holds of all commands."""

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
        *("run", "report", "scan", "capture", "probe", "verify", "rebuild"),
        *("lexicon check", "lexicon list", "lexicon explain", "audit export", "audit import"),
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
