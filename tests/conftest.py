"""Shared fixtures. Threads are set on purpose: oversubscribed ones make training many times slower."""

import fcntl
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
from hypothesis import settings

from valueattr.world import synthesise

# The same code gets the same verdict; `--hypothesis-profile default` looks at other examples.
settings.load_profile("ci")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """One process runs all tests that read the finished smoke run, so that it is made once."""
    for item in items:
        if "everything" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("everything"))


@pytest.fixture(scope="session")
def world():
    return synthesise(0)


@pytest.fixture(scope="session")
def untrained(world, tmp_path_factory):
    """The folder of a start model that was trained for a few steps only: its tokenizer is real, its answers are not."""
    from valueattr.model.start import StartModelRecipe, train_start_model

    folder = tmp_path_factory.mktemp("untrained") / "model"
    train_start_model(world, StartModelRecipe(hidden_size=32, layers=2, heads=2, documents=600), folder)
    return folder


@pytest.fixture(scope="session")
def start(world):
    """The folder of the real start model, which ships with the package."""
    from valueattr.model.start import start_model

    return start_model(world)


@pytest.fixture(scope="session")
def everything(start, tmp_path_factory, worker_id):
    """A finished smoke run of all experiments and what it printed; made once for all processes of pytest."""
    from tests.experiments.conftest import valueattr

    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        shared = shared.parent  # of all processes of this session
    folder, printed = shared / "everything", shared / "everything.txt"
    with (shared / "everything.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.exists():
            process = valueattr("run", "all", "--preset", "smoke", "--out", folder)
            output, errors = process.communicate(timeout=1800)
            assert process.returncode == 0, errors
            printed.write_text(output, "utf-8")
    return folder, printed.read_text("utf-8")


@pytest.fixture(scope="session")
def smoke(everything):
    """Its E1, and what was printed."""
    return everything[0] / "e1", everything[1]
