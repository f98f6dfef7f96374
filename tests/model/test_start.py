import json
import subprocess
import sys
from dataclasses import asdict, replace
from hashlib import sha256

import numpy as np
import pytest
import torch

from valueattr.measures.belief import belief_items, belief_rows
from valueattr.model import Asking, load_model, load_tokenizer
from valueattr.model.start import (
    EMBEDDED,
    StartModelRecipe,
    _main,
    is_cached,
    start_model,
    start_models,
    taught_text,
    train_start_model,
    write_origin,
)
from valueattr.world import World, synthesise

TINY = StartModelRecipe(hidden_size=32, layers=2, heads=2, documents=600)


@pytest.fixture(scope="module")
def origin():
    return json.loads((EMBEDDED / "origin.json").read_text("utf-8"))


def test_the_embedded_worlds_start_model_ships_and_nothing_is_trained(world, tmp_path):
    world.save(tmp_path / "world.jsonl")
    for same in (world, World.load(tmp_path / "world.jsonl")):
        assert is_cached(same, cache=tmp_path / "cache")
        assert start_model(same, cache=tmp_path / "cache") == EMBEDDED
    assert not (tmp_path / "cache").exists()
    other = World(world.relations, world.facts[:-1], world.english)
    assert not is_cached(other, replace(TINY, documents=60), cache=tmp_path / "cache")
    assert not is_cached(world, TINY, cache=tmp_path / "cache")
    assert not is_cached(synthesise(1), cache=tmp_path / "cache")


def test_without_the_shipped_weights_the_start_model_is_trained(world, tmp_path, monkeypatch):
    monkeypatch.setattr("valueattr.model.start.EMBEDDED", tmp_path / "gone")
    assert not is_cached(world, cache=tmp_path / "cache")


def test_the_shipped_weights_are_those_that_their_origin_names(origin):
    assert sha256((EMBEDDED / "model.safetensors").read_bytes()).hexdigest() == origin["weights_sha256"]
    assert load_model(EMBEDDED).dtype == torch.float32


def test_the_shipped_weights_were_taught_the_text_that_the_world_has_now(world, origin):
    """Where this fails the text has changed: `make start-model` makes the shipped weights anew."""
    assert origin["recipe"] == asdict(StartModelRecipe())
    assert origin["taught_text_sha256"] == taught_text(world, StartModelRecipe())


def test_another_recipe_is_trained_once_and_cached(world, tmp_path):
    steps = []
    folder = start_model(world, TINY, progress=lambda *step: steps.append(step), cache=tmp_path)
    assert steps
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert is_cached(world, TINY, cache=tmp_path)
    assert not is_cached(world, replace(TINY, seed=1), cache=tmp_path)
    assert not is_cached(synthesise(1), TINY, cache=tmp_path)
    trained = len(steps)
    assert start_model(world, TINY, progress=lambda *step: steps.append(step), cache=tmp_path) == folder
    assert len(steps) == trained


def test_the_same_recipe_gives_the_same_weights_whatever_the_date(world, untrained, tmp_path):
    torch.manual_seed(123)
    train_start_model(world, TINY, tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (untrained / path.name).read_bytes()
    write_origin(world, TINY, tmp_path)
    first = (tmp_path / "origin.json").read_bytes()
    write_origin(world, TINY, tmp_path)
    assert (tmp_path / "origin.json").read_bytes() == first


def test_the_command_pins_the_kernels_that_give_every_processor_the_same(origin, tmp_path, monkeypatch):
    for name in origin["kernels"]:
        monkeypatch.delenv(name, raising=False)
    again = {}

    def execve(program, arguments, environment):
        again.update(program=program, arguments=arguments, environment=environment)
        raise SystemExit

    monkeypatch.setattr("os.execve", execve)
    monkeypatch.setattr("sys.argv", ["start", str(tmp_path)])
    with pytest.raises(SystemExit):
        _main()
    assert origin["kernels"] == {"MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "avx2"}
    assert origin["kernels"].items() <= again["environment"].items()
    assert (again["program"], again["arguments"][0]) == (sys.executable, sys.executable)


def test_start_models_of_several_seeds_are_trained_on_as_many_cores(world, tmp_path):
    recipes = [replace(TINY, seed=seed) for seed in (1, 2)]
    done = []
    folders = start_models(world, recipes, done=done.append, cache=tmp_path / "at once")
    assert done == [1, 2]
    assert start_models(world, recipes, done=done.append, cache=tmp_path / "at once") == folders
    assert len(done) == 2
    for recipe, folder in zip(recipes, folders, strict=True):
        alone = start_model(world, recipe, cache=tmp_path / "alone")
        weights = ((each / "model.safetensors").read_bytes() for each in (folder, alone))
        assert next(weights) == next(weights)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_start_model_that_is_trained_anew_measures_as_the_shipped_one(world, tmp_path):
    """By the command that made it, whose arithmetic does not depend on the processor."""
    subprocess.run([sys.executable, "-m", "valueattr.model.start", tmp_path / "anew"], check=True)
    shipped, anew = (taught_belief(world, folder) for folder in (EMBEDDED, tmp_path / "anew"))
    assert anew["belief_margin"] == pytest.approx(shipped["belief_margin"], abs=0.2)
    assert anew["top1"] == pytest.approx(shipped["top1"], abs=0.02)


def taught_belief(world, folder):
    """Mean belief margin in nats and share of first choices, over what was taught in full."""
    tokenizer = load_tokenizer(folder)
    taught = [question for question in world.questions if question.exposure in ("well_known", "false_belief")]
    items = belief_items(taught, Asking.of(tokenizer), world.prompt_format("zero"))
    rows = belief_rows(load_model(folder), tokenizer, items)
    return {
        measure: np.mean([row["value"] for row in rows if row["measure"] == measure])
        for measure in ("belief_margin", "top1")
    }
