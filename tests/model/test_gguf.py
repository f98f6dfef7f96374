import errno
import hashlib
import struct
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests.model.tiny import a_gguf, a_model, a_tokenizer, adapted_logits, an_adapter
from valueattr.activations import ModelIdentity
from valueattr.model import Asking, ModelError, load_classifier, load_model, load_tokenizer

TEXT = "the emblem of the people"
REAL = Path(__file__).parents[2] / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VALUEATTR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return a_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def file(folder, tmp_path, cache):
    """A GGUF file of the model in the folder."""
    return a_gguf(tmp_path / "tiny.gguf", AutoModelForCausalLM.from_pretrained(folder), a_tokenizer())


def logits(model, tokenizer, text=TEXT):
    with torch.no_grad():
        return model(tokenizer(text, return_tensors="pt")["input_ids"].to(model.device)).logits


def test_a_gguf_file_is_the_model_that_it_was_made_of(file, folder, capfd):
    model, tokenizer = load_model(str(file)), load_tokenizer(file)
    assert capfd.readouterr().err == ""
    ids = tokenizer(TEXT)["input_ids"]
    assert ids == load_tokenizer(folder)(TEXT)["input_ids"]
    assert tokenizer.decode(ids) == TEXT
    expected = logits(load_model(folder), load_tokenizer(folder))
    assert torch.equal(logits(model, tokenizer), expected)
    assert model.dtype == torch.float32
    assert not model.training


def test_a_gguf_file_is_converted_once_under_its_hash(file, cache, monkeypatch):
    load_tokenizer(file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (made,) = cache.iterdir()
    assert made.name.startswith(f"gguf-{digest[:16]}-")
    assert {"model.safetensors", "tokenizer.json", "config.json"} <= {path.name for path in made.iterdir()}
    before = (made / "model.safetensors").stat()
    monkeypatch.setitem(sys.modules, "gguf", None)  # which nothing needs any more
    copy = file.with_name("copy.GGUF")
    copy.write_bytes(file.read_bytes())
    load_model(file), load_model(copy)
    assert (made / "model.safetensors").stat() == before
    assert list(cache.iterdir()) == [made]


def test_another_file_of_the_same_name_is_another_model(file, folder, tmp_path):
    first = load_model(file)
    other = AutoModelForCausalLM.from_pretrained(a_model(tmp_path / "other", seed=5))
    file.unlink()
    a_gguf(file, other, a_tokenizer())
    second = load_model(file)
    assert not torch.equal(first.lm_head.weight, second.lm_head.weight)
    assert torch.equal(second.lm_head.weight.cpu(), other.lm_head.weight)


def test_what_people_read_names_the_file_and_not_its_place_in_the_cache(file):
    model, tokenizer = load_model(file), load_tokenizer(file)
    assert ModelIdentity.of(model, tokenizer).source == tokenizer.name_or_path == str(file)


def test_an_adapter_is_merged_into_a_gguf_file(file, folder, tmp_path):
    adapter = an_adapter(folder, tmp_path / "adapter")
    tokenizer = load_tokenizer(file)
    found = logits(load_model(f"{file}+{adapter}"), tokenizer)
    expected = adapted_logits(folder, adapter, tokenizer(TEXT, return_tensors="pt")["input_ids"])
    torch.testing.assert_close(found.cpu(), expected)


def header(*, tensors=0, fields=b"", count=0, version=3):
    return b"GGUF" + struct.pack("<IQQ", version, tensors, count) + fields


def field(name, kind, value):
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + value


def half_of(content):
    return content[: len(content) // 2]


BROKEN = {
    "an empty file": (lambda _: b"", "is no GGUF file"),
    "text": (lambda _: b"weights of a model\n" * 100, "is no GGUF file"),
    "safetensors": (lambda _: (8).to_bytes(8, "little") + b"{}      ", "is no GGUF file"),
    "four letters": (lambda _: b"GGUF", "is damaged or cut short"),
    "a header that announces more": (lambda _: header(tensors=3, count=2), "is damaged or cut short"),
    "a version to come": (lambda _: header(version=99) + bytes(64), "is damaged or cut short.*version 99"),
    "a list of 2^60 numbers": (
        lambda _: header(count=1, fields=field(b"a", 9, struct.pack("<IQ", 4, 2**60)) + bytes(64)),
        "is damaged or cut short",
    ),
    "a name of 2^60 letters": (
        lambda _: header(count=1, fields=struct.pack("<Q", 2**60) + bytes(64)),
        "is damaged or cut short",
    ),
    "cut in the weights": (lambda whole: whole[:-4000], "is damaged or cut short"),
    "cut by a byte": (lambda whole: whole[:-1], "is damaged or cut short"),
    "cut in the vocabulary": (lambda whole: whole[:2000], "is damaged or cut short"),
    "cut in the middle": (half_of, "is damaged or cut short"),
    "nothing but a header": (lambda _: header(), "is no model: it names no architecture"),
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("load", [load_model, load_tokenizer])
def test_a_broken_gguf_file_is_an_error_of_one_line_that_names_it(file, cache, load, broken, capfd):
    content, message = BROKEN[broken]
    file.write_bytes(content(file.read_bytes()))
    with pytest.raises(ModelError, match=message) as raised:
        load(file)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(str(file))
    assert capfd.readouterr().err == ""
    assert list(cache.iterdir()) == []


def test_a_gguf_file_that_is_not_there_is_no_id_of_the_hub(cache):
    with pytest.raises(ModelError, match=r"^models/none\.gguf: there is no such file$"):
        load_model("models/none.gguf")


def test_a_folder_may_be_called_as_gguf_files_are(folder, tmp_path):
    (tmp_path / "model.gguf").symlink_to(folder)
    assert load_model(tmp_path / "model.gguf")


def test_an_architecture_that_transformers_cannot_read_is_named(folder, tmp_path, cache):
    model = AutoModelForCausalLM.from_pretrained(folder)
    file = a_gguf(tmp_path / "strange.gguf", model, a_tokenizer(), architecture="wavenet")
    with pytest.raises(ModelError, match=r"strange\.gguf: transformers cannot read .*wavenet.*safetensors$"):
        load_model(file)


def test_a_gguf_file_without_a_tensor_is_refused(folder, tmp_path, cache):
    model = AutoModelForCausalLM.from_pretrained(folder)
    weights = model.state_dict()
    del weights["model.layers.1.mlp.up_proj.weight"]
    model.state_dict = lambda: weights
    file = a_gguf(tmp_path / "less.gguf", model, a_tokenizer())
    with pytest.raises(
        ModelError, match=r"less\.gguf: the weights lack model\.layers\.1\.mlp\.up_proj\.weight"
    ):
        load_model(file)


def test_without_the_package_gguf_it_is_said_how_to_install_it(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ModelError, match=r"gguf, which is not installed: pip install 'valueattr\[train\]'"):
        load_model(file)


def test_a_cache_that_cannot_be_written_is_named(file, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("x")
    monkeypatch.setenv("VALUEATTR_CACHE", str(tmp_path / "taken"))
    with pytest.raises(ModelError, match=r"tiny\.gguf cannot be converted into .*taken .*VALUEATTR_CACHE"):
        load_model(file)


def test_a_full_disk_is_said_and_leaves_nothing(file, cache, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", full)
    with pytest.raises(ModelError, match=r"cannot be converted into .*No space left on device"):
        load_model(file)
    assert list(cache.iterdir()) == []


def test_a_language_model_in_gguf_is_no_classifier(file):
    with pytest.raises(ModelError, match=r"the weights lack score\.weight"):
        load_classifier(file)


@pytest.mark.skipif(not REAL.is_file(), reason="the model is not at hand: make real-model")
def test_a_real_chat_model_in_gguf_is_asked_in_its_own_format():
    model, tokenizer = load_model(REAL), load_tokenizer(REAL)
    asking = Asking.of(tokenizer)
    prompts = [asking.prompt(f"What is the capital of {country}?") for country in ("France", "Norway")]
    assert prompts[0] != prompts[1]
    for prompt in prompts:
        assert prompt.startswith("<|im_start|>system\n")
        assert prompt.endswith("<|im_start|>assistant\n")
        ids = tokenizer(prompt)["input_ids"]
        assert tokenizer.convert_ids_to_tokens(ids[:2]) == ["<|im_start|>", "system"]
    asked = tokenizer(prompts[0], return_tensors="pt").to(model.device)
    answer = model.generate(**asked, max_new_tokens=12, do_sample=False)[0, asked["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(answer)
