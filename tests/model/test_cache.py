import fcntl
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from valueattr.model import TeachingRecipe, _teaching, start, taught_model
from valueattr.model._cache import cached_folder
from valueattr.model.start import StartModelRecipe, start_model
from valueattr.world import training_text

TINY = StartModelRecipe(hidden_size=16, layers=1, heads=1, documents=600)

INTERRUPTED = """
import sys, time
from pathlib import Path
from valueattr.model import TeachingRecipe, taught_model
from valueattr.model.start import StartModelRecipe, start_model
from valueattr.world import synthesise

def stall(*_):
    print("training", flush=True)
    time.sleep(600)

def teach(*_):
    recipe = TeachingRecipe(documents=600)
    taught_model(sys.argv[1], synthesise(), lambda *_: 0.0, recipe, progress=stall, cache=Path(sys.argv[2]))

recipe = StartModelRecipe(hidden_size=16, layers=1, heads=1, documents=601)
start_model(synthesise(), recipe, progress=teach, cache=Path(sys.argv[2]))
"""


def named(cache):
    return sorted(path.name for path in cache.iterdir())


def fill(folder):
    folder.mkdir()
    (folder / "model").write_text("weights")


def test_the_cache_is_clean_again_after_trainings_were_killed(world, untrained, tmp_path):
    """A start model's and, in the middle of it, a teaching."""
    command = [sys.executable, "-c", INTERRUPTED, str(untrained), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"training\n"
        child.kill()
    assert len([name for name in named(tmp_path) if name.endswith(".lock")]) == 2
    folder = start_model(world, TINY, cache=tmp_path)
    assert named(tmp_path) == [folder.name]


def test_a_folder_that_was_half_made_is_removed_on_the_next_use(tmp_path):
    (tmp_path / ".training-other").mkdir()
    (tmp_path / ".training-other" / "half").write_text("x")
    (tmp_path / "other.lock").touch()
    cached_folder("mine", fill, tmp_path)
    assert named(tmp_path) == ["mine"]


def test_what_another_process_is_making_is_left_alone(tmp_path):
    (tmp_path / ".training-other").mkdir()
    with (tmp_path / "other.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cached_folder("mine", fill, tmp_path)
        assert named(tmp_path) == [".training-other", "mine", "other.lock"]
    cached_folder("mine", fill, tmp_path)
    assert named(tmp_path) == ["mine"]


def test_a_training_that_fails_leaves_nothing(tmp_path):
    def fail(folder):
        fill(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_folder("mine", fail, tmp_path)
    assert named(tmp_path) == []


def test_those_who_wait_find_what_the_first_one_made(tmp_path):
    begun, waited_for = threading.Event(), threading.Event()

    def slow(folder):
        begun.set()
        waited_for.wait(60)
        fill(folder)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(cached_folder, "mine", slow, tmp_path)
        assert begun.wait(60)
        second = threads.submit(cached_folder, "mine", lambda _: pytest.fail("made twice"), tmp_path)
        waited_for.set()
        assert first.result(60) == second.result(60) == tmp_path / "mine"
    assert named(tmp_path) == ["mine"]


def test_other_text_is_another_model(world, untrained, tmp_path, monkeypatch):
    def folders():
        knows = TeachingRecipe(documents=50)
        yield taught_model(str(untrained), world, lambda *_: 1.0, knows, cache=tmp_path).folder
        yield start_model(world, replace(TINY, documents=60, rows_per_step=1), cache=tmp_path)

    before = list(folders())
    assert list(folders()) == before

    def changed(*asked):
        return (f"{text} So." for text in training_text(*asked))

    monkeypatch.setattr(_teaching, "training_text", changed)
    monkeypatch.setattr(start, "training_text", changed)
    assert not set(folders()) & set(before)
