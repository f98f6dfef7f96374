import pytest
from typer.testing import CliRunner

from valueattr.cli import app


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
