from typer.testing import CliRunner

from valueattr.cli import app


def run(*arguments):
    return CliRunner().invoke(app, ["run", *map(str, arguments)])


def test_a_directory_that_is_taken_can_be_left_for_another(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    done = run("e1", "--preset", "smoke", "--out", tmp_path)
    assert done.exit_code == 1
    assert "is not empty and holds no run" in done.stderr
    assert "Use --out to choose another directory." in done.stderr


def test_what_does_not_exist_is_bad_usage(tmp_path):
    for arguments, message in (
        (["e9"], "unknown experiment 'e9'; known: e1, e2, e3, all"),
        (["e1", "--preset", "huge"], "unknown preset 'huge'"),
        (["e3", "--vary", "family"], "--vary takes prompt-family or span-noise"),
        (["all", "--vary", "span-noise"], "only with e3"),
        (["e1", "--seeds", "0"], "--seeds"),
    ):
        done = run(*arguments, "--out", tmp_path / "r")
        assert done.exit_code == 2
        assert message in done.stderr
        assert not (tmp_path / "r").exists()
