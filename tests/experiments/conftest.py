import signal
import subprocess
import sys

import pytest


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


@pytest.fixture(scope="session")
def smoke(start, tmp_path_factory):
    """A finished smoke run and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "smoke"
    process = valueattr("run", "e1", "--preset", "smoke", "--out", folder)
    output, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors
    return folder, output
