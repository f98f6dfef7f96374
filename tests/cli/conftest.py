import subprocess
import sys

import pytest

_CHILD = """
import sys
from valueattr.cli import app
try:
    app()
finally:
    print(*sys.modules, file=sys.stderr)
"""


@pytest.fixture(scope="session")
def emblems_of_people(world, tmp_path_factory):
    """A file of facts that the start model was taught, half taught, taught wrongly and never taught."""
    file = tmp_path_factory.mktemp("emblems") / "facts.jsonl"
    world.with_facts(f for f in world.facts if f.relation == "emblem" and f.topic == "people").save(file)
    return file


@pytest.fixture
def modules_after():
    """Runs the command line in a process of its own; gives the packages that it imported."""

    def run(*arguments):
        command = [sys.executable, "-c", _CHILD, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return {name.partition(".")[0] for name in done.stderr.split()}

    return run
