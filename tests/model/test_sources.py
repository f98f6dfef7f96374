import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

from tests.model.tiny import a_model, an_adapter
from valueattr.activations import ModelIdentity
from valueattr.model import ModelError, load_model, load_tokenizer, shown_name
from valueattr.model._sources import Place, Source


@pytest.mark.parametrize(
    ("written", "base", "adapter"),
    [
        ("gpt2", Place("gpt2"), None),
        ("org/name", Place("org/name"), None),
        ("org/name@main", Place("org/name", "main"), None),
        ("org/name@refs/pr/3", Place("org/name", "refs/pr/3"), None),
        ("./none/at/all@home", Place("./none/at/all@home"), None),
        ("org/name.gguf", Place("org/name.gguf"), None),
        ("org/name+org/lora", Place("org/name"), Place("org/lora")),
        ("org/name@v1+org/lora@v2", Place("org/name", "v1"), Place("org/lora", "v2")),
        ("org/name.gguf+org/lora", Place("org/name.gguf"), Place("org/lora")),
    ],
)
def test_a_source_is_read_as_it_is_written(written, base, adapter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Source.of(written) == Source(base, adapter)
    assert str(Source.of(written)) == written


def test_what_is_there_is_meant_whatever_signs_its_name_has(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("c++/model@home", "a@b", "x+y", "lora+"):
        (tmp_path / name).mkdir(parents=True)
        assert Source.of(name) == Source(Place(name))
    assert Source.of("c++/model@home+x+y") == Source(Place("c++/model@home"), Place("x+y"))
    assert Source.of("a@b+org/lora@v1") == Source(Place("a@b"), Place("org/lora", "v1"))
    assert Source.of(tmp_path / "x+y") == Source(Place(str(tmp_path / "x+y")))


@pytest.mark.parametrize("written", ["model+", "+adapter", "+"])
def test_one_half_of_a_pair_is_refused(written):
    with pytest.raises(ModelError, match=r"write a model and its adapter as BASE\+ADAPTER"):
        load_model(written)


def test_the_last_names_are_shown():
    assert shown_name("some/where/base+ada/pter@v1") == "base+pter"
    assert shown_name("org/name@main") == "name"
    assert shown_name(Path("models/small.gguf")) == "small.gguf"


COMMITS = {"main": "a" * 40, "before": "b" * 40}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache of the hub with a model of two revisions, and an adapter of the first."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))

    def put(name, revision, folder):
        place = cache / f"models--{name.replace('/', '--')}"
        (place / "refs").mkdir(parents=True, exist_ok=True)
        (place / "refs" / revision).write_text(COMMITS[revision])
        shutil.copytree(folder, place / "snapshots" / COMMITS[revision])

    put("nobody/tiny", "main", a_model(tmp_path / "main", seed=0))
    put("nobody/tiny", "before", a_model(tmp_path / "before", seed=1))
    put("nobody/lora", "before", an_adapter(tmp_path / "before", tmp_path / "lora"))
    return tmp_path


def same(one, other):
    return all(torch.equal(one.state_dict()[name], weight) for name, weight in other.state_dict().items())


def test_a_revision_of_the_hub_is_the_one_that_is_loaded(hub):
    main, before = load_model(hub / "main"), load_model(hub / "before")
    assert same(load_model("nobody/tiny"), main)
    assert same(load_model("nobody/tiny@main"), main)
    assert same(load_model("nobody/tiny@before"), before)
    assert same(load_model(f"nobody/tiny@{COMMITS['before']}"), before)
    assert load_tokenizer("nobody/tiny@before").name_or_path == "nobody/tiny@before"


def test_an_adapter_of_the_hub_is_merged_at_its_revision(hub):
    expected = load_model(f"{hub / 'before'}+{hub / 'lora'}")
    assert same(load_model("nobody/tiny@before+nobody/lora@before"), expected)
    with pytest.raises(ModelError, match=r"nobody/lora@after cannot be loaded: .* none on the hub"):
        load_model("nobody/tiny@before+nobody/lora@after")


def test_the_commit_of_a_model_of_the_hub_is_known(hub):
    named = [
        ModelIdentity.of(load_model(f"nobody/tiny{at}"), load_tokenizer("nobody/tiny"))
        for at in ("", "@before")
    ]
    assert [identity.revision for identity in named] == [COMMITS["main"], COMMITS["before"]]
    assert str(named[1]) == f"nobody/tiny@before at revision {COMMITS['before']} in float32"


@pytest.mark.parametrize("load", [load_model, load_tokenizer])
def test_a_revision_that_there_is_not_is_named(hub, load):
    with pytest.raises(ModelError, match=r"^nobody/tiny@after cannot be loaded: .*it has no such revision"):
        load("nobody/tiny@after")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_a_model_that_does_not_fit_says_so_wherever_memory_ends(untrained, monkeypatch, error):
    def full(*_, **__):
        raise error

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(ModelError, match=f"{untrained} does not fit into memory: choose a smaller model"):
        load_model(untrained)
