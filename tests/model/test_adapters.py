import json
import logging
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2ForSequenceClassification

from tests.model.tiny import a_model, a_tokenizer, adapted_logits, an_adapter
from valueattr.activations import ModelIdentity
from valueattr.model import ModelError, load_classifier, load_model, load_tokenizer

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return a_model(tmp_path_factory.mktemp("base") / "base")


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    return an_adapter(base, tmp_path_factory.mktemp("trained") / "adapter")


@pytest.fixture
def adapter(trained, tmp_path):
    """The folder of an adapter to be damaged."""
    return shutil.copytree(trained, tmp_path / "adapter")


def ids_of(folder):
    return load_tokenizer(folder)("the emblem of the people", return_tensors="pt")["input_ids"]


def logits(model, ids):
    with torch.no_grad():
        return model(ids.to(model.device)).logits.cpu()


def in_config(folder, **values):
    file = folder / CONFIG
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def in_weights(folder, change):
    weights = load_file(folder / WEIGHTS)
    save_file(change(weights) or weights, folder / WEIGHTS)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"target_modules": "all-linear", "use_dora": True},
        {"use_rslora": True, "lora_alpha": 32},
        {"layers_to_transform": [1]},
        {"modules_to_save": ["lm_head"]},
        {"target_modules": ["embed_tokens", "o_proj"]},
    ],
)
def test_a_merged_adapter_gives_what_peft_gives_with_it_beside_the_weights(base, tmp_path, config, capfd):
    adapter = an_adapter(base, tmp_path / "adapter", **config)
    ids = ids_of(base)
    expected = adapted_logits(base, adapter, ids)
    capfd.readouterr()
    model = load_model(f"{base}+{adapter}")
    assert capfd.readouterr().err == ""
    torch.testing.assert_close(logits(model, ids), expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(logits(load_model(base), ids), expected, atol=1e-2)
    assert model.dtype == torch.float32


def test_a_merged_model_is_a_plain_one_that_can_be_trained_and_saved(base, trained, tmp_path):
    model, plain = load_model(f"{base}+{trained}"), load_model(base)
    assert type(model) is type(plain)
    assert not model.training
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert all(weight.requires_grad for weight in model.parameters())
    model.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved" / CONFIG).exists()
    load_tokenizer(f"{base}+{trained}").save_pretrained(tmp_path / "saved")
    again = load_model(tmp_path / "saved")
    assert torch.equal(logits(again, ids_of(base)), logits(model, ids_of(base)))


def test_an_adapter_is_merged_in_float32_and_cast_after(base, trained):
    exact, cast = (load_model(f"{base}+{trained}", dtype) for dtype in (torch.float32, torch.bfloat16))
    assert {weight.dtype for weight in cast.parameters()} == {torch.bfloat16}
    assert torch.equal(cast.lm_head.weight, exact.lm_head.weight.bfloat16())
    merged = "model.layers.0.self_attn.q_proj.weight"
    assert torch.equal(cast.state_dict()[merged], exact.state_dict()[merged].bfloat16())
    assert load_model(base, torch.bfloat16).dtype == torch.bfloat16


def test_what_people_read_names_both(base, trained):
    source = f"{base}+{trained}"
    model, tokenizer = load_model(source), load_tokenizer(source)
    named = ModelIdentity.of(model, tokenizer)
    assert named.source == tokenizer.name_or_path == source
    assert ModelIdentity.of(load_model(base), tokenizer).differences(named) == ["weights"]


def test_an_adapter_of_a_classifier_is_merged(tmp_path):
    tokenizer = a_tokenizer()
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=1, n_head=2)
    GPT2ForSequenceClassification(config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(
        GPT2ForSequenceClassification.from_pretrained(tmp_path / "base"),
        LoraConfig(target_modules=["c_attn"], task_type="SEQ_CLS", fan_in_fan_out=True),
    )
    with torch.no_grad():
        adapted.base_model.model.score.modules_to_save["default"].weight.fill_(0.25)
    adapted.save_pretrained(tmp_path / "adapter")
    model, _ = load_classifier(f"{tmp_path / 'base'}+{tmp_path / 'adapter'}")
    assert bool((model.score.weight == 0.25).all())


def pickled(folder):
    torch.save(load_file(folder / WEIGHTS), folder / "adapter_model.bin")
    (folder / WEIGHTS).unlink()


def with_nan(weights):
    next(iter(weights.values()))[0, 0] = float("nan")


def with_infinity(weights):
    next(iter(weights.values()))[0, 0] = float("inf")


def of_a_third_layer(weights):
    return {name.replace("layers.1", "layers.2"): tensor for name, tensor in weights.items()}


DAMAGES = {
    "no configuration": (
        lambda f: (f / CONFIG).unlink(),
        r"is no adapter that can be loaded: it holds no adapter_config\.json",
    ),
    "a cut configuration": (
        lambda f: (f / CONFIG).write_text((f / CONFIG).read_text()[:50]),
        r"adapter_config\.json is no JSON",
    ),
    "a configuration that is a list": (lambda f: (f / CONFIG).write_text("[]"), "is no JSON object"),
    "another kind": (
        lambda f: in_config(f, peft_type="IA3"),
        "of the kind 'IA3', and only LORA can be merged",
    ),
    "no kind": (lambda f: (f / CONFIG).write_text("{}"), "of the kind None"),
    "pickled": (pickled, r"holds no adapter_model\.safetensors; pickled weights are not read"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), r"holds no adapter_model\.safetensors"),
    "cut weights": (
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:600]),
        r"adapter_model\.safetensors is damaged or cut short",
    ),
    "weights that are a folder": (
        lambda f: ((f / WEIGHTS).unlink(), (f / WEIGHTS).mkdir()),
        r"adapter_model\.safetensors is damaged",
    ),
    "NaN": (lambda f: in_weights(f, with_nan), "holds values that are no finite numbers"),
    "infinity": (lambda f: in_weights(f, with_infinity), "holds values that are no finite numbers"),
    "no tensors": (lambda f: in_weights(f, lambda _: {"x": torch.zeros(1)}), "x has no place in"),
    "another rank": (
        lambda f: in_config(f, r=8),
        r"lora_A\S* has the shape \[4, 32\] in the adapter, and \[8, 32\] by",
    ),
    "other modules": (
        lambda f: in_config(f, target_modules=["c_attn"]),
        "cannot be merged into .*: Target modules .* not found",
    ),
    "fewer modules": (
        lambda f: in_config(f, target_modules=["q_proj"]),
        r"v_proj\.\S+ and 3 more tensors has no place",
    ),
    "more modules": (
        lambda f: in_config(f, target_modules=["q_proj", "v_proj", "o_proj"]),
        r"lacks \S+o_proj\S+ and 3 more tensors",
    ),
    "another layer": (
        lambda f: in_weights(f, of_a_third_layer),
        r"layers\.2\S+ and 3 more tensors has no place",
    ),
    "a rank that is a text": (lambda f: in_config(f, r="four"), "cannot be merged into"),
    "a rank below 0": (lambda f: in_config(f, r=-1), "cannot be merged into"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_adapter_is_an_error_of_one_line_that_names_the_fault(base, adapter, damage, capfd):
    do, message = DAMAGES[damage]
    do(adapter)
    with pytest.raises(ModelError, match=message) as raised:
        load_model(f"{base}+{adapter}")
    assert "\n" not in str(raised.value)
    assert str(adapter) in str(raised.value)
    assert capfd.readouterr().err == ""


def test_an_adapter_of_a_wider_model_is_refused(trained, tmp_path):
    wider = a_model(tmp_path / "wider", hidden=48)
    with pytest.raises(
        ModelError, match=r"\[4, 32\] in the adapter, and \[4, 48\] by .*wider.* another model"
    ):
        load_model(f"{wider}+{trained}")


def test_an_adapter_of_a_model_with_fewer_layers_is_refused(trained, tmp_path):
    deeper = a_model(tmp_path / "deeper", layers=3)
    with pytest.raises(ModelError, match=r"lacks \S+layers\.2\.\S+ .* for which .*deeper has a place"):
        load_model(f"{deeper}+{trained}")


def test_an_adapter_that_names_another_base_is_merged_with_a_warning_said_once(base, adapter, caplog):
    in_config(adapter, base_model_name_or_path="organisation/other")
    with caplog.at_level(logging.WARNING, "valueattr"):
        load_model(f"{base}+{adapter}"), load_model(f"{base}+{adapter}")
    (record,) = caplog.records
    assert "says that it was trained from other and is merged into base" in record.getMessage()
    caplog.clear()
    in_config(adapter, base_model_name_or_path="organisation/Base")
    moved = adapter.rename(adapter.with_name("moved"))
    with caplog.at_level(logging.WARNING, "valueattr"):
        load_model(f"{base}+{moved}")
    assert caplog.records == []


def test_embeddings_that_are_the_output_too_are_not_merged_into(tmp_path):
    tied = a_model(tmp_path / "tied", tied=True)
    load_model(f"{tied}+{an_adapter(tied, tmp_path / 'attention')}")
    adapter = an_adapter(tied, tmp_path / "words", target_modules=["embed_tokens"])
    with pytest.raises(ModelError, match="which are its output weights too, so that it cannot be merged"):
        load_model(f"{tied}+{adapter}")


def test_an_adapter_alone_is_no_model(base, trained):
    for source in (trained, f"{trained}+{trained}"):
        with pytest.raises(ModelError, match=r"is an adapter.*write both as BASE\+ADAPTER"):
            load_model(source)


def test_what_is_no_adapter_says_so(base, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="file is a file; expected the folder of an adapter"):
        load_model(f"{base}+{tmp_path / 'file'}")
    for adapter in (tmp_path / "none", "nobody/no-such-adapter"):
        with pytest.raises(
            ModelError, match=f"{adapter} cannot be loaded: there is no such folder of an adapter"
        ):
            load_model(f"{base}+{adapter}")


def test_without_the_package_peft_it_is_said_how_to_install_it(base, trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError, match=r"peft, which is not installed: pip install 'valueattr\[train\]'"):
        load_model(f"{base}+{trained}")
