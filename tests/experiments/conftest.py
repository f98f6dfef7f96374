import signal
import subprocess
import sys

import pandas as pd
from typer.testing import CliRunner

from valueattr.cli import app
from valueattr.results import RunDirectory


def valueattr(*arguments, **options):
    """The command line in a process of its own, as a user runs it."""
    command = [sys.executable, "-c", "from valueattr.cli import app; app()", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore Ctrl-C, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


def refused(code, message, *arguments):
    """In this process, which has imported what takes a new one ten seconds: refusals come before any worker starts."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(done.exception, SystemExit), done.exception
    assert (done.exit_code, message in done.stderr) == (code, True), done.stderr


def tables(folder):
    """Every table, without wall-clock rows."""
    run = RunDirectory(folder)
    read = {name: run.table(name) for name in ("facts", "generations", "measures", "steps", "summary")}
    read["steps"] = read["steps"][~read["steps"]["name"].astype(str).str.startswith("time/")].reset_index(
        drop=True
    )
    return read


def assert_same(one, other):
    for name, table in tables(one).items():
        pd.testing.assert_frame_equal(table, tables(other)[name], check_exact=True, obj=name)


def assert_arms_same(chosen, whole):
    """A run of some arms holds what the run of all arms says of them."""
    every, some = tables(whole), tables(chosen)
    for name in ("generations", "measures", "steps"):
        arms = set(some[name]["arm"])
        expected = every[name][every[name]["arm"].isin(arms)].reset_index(drop=True)
        # Categories are of all arms of a run.
        texts = {column: str for column in expected if expected[column].dtype == "category"}
        pd.testing.assert_frame_equal(
            some[name].astype(texts), expected.astype(texts), check_exact=True, obj=name
        )
