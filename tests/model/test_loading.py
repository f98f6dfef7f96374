import json
import logging
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
)
from transformers.utils import logging as transformers_logging

from valueattr.model import (
    ModelError,
    closed_set_log_probs,
    load_classifier,
    load_model,
    load_tokenizer,
    log_p_per_token,
    position_ids,
)


def models(untrained):
    """One with rotary positions, one with absolute ones."""
    tokenizer = load_tokenizer(untrained)
    torch.manual_seed(0)
    gpt2 = GPT2LMHeadModel(
        GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=64)
    )
    torch.nn.init.normal_(gpt2.transformer.wpe.weight, std=1.0)  # so that a wrong position shows
    return tokenizer, {"llama": load_model(untrained), "gpt2": gpt2.eval()}


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_padding_on_the_left_changes_no_score(untrained, kind):
    tokenizer, every = models(untrained)
    model = every[kind]
    texts = [
        "The emblem of it is the",
        "It is the",
        "As its main export the people who live near the river have",
    ]
    sets = [("bear", "fox", "main export")] * 3
    together = closed_set_log_probs(model, tokenizer, texts, sets)
    alone = [closed_set_log_probs(model, tokenizer, [t], [s])[0] for t, s in zip(texts, sets, strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert one.log_p == pytest.approx(other.log_p, abs=1e-4)
    whole = log_p_per_token(model, tokenizer, texts)
    assert whole == pytest.approx([log_p_per_token(model, tokenizer, [t])[0] for t in texts], abs=1e-4)


def test_position_ids_count_from_the_first_token(untrained):
    _, every = models(untrained)
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    assert position_ids(every["gpt2"], mask)["position_ids"].tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]

    class Without(torch.nn.Module):
        def forward(self, input_ids): ...

    assert position_ids(Without(), mask) == {}
    wrapped = SimpleNamespace(module=every["gpt2"])  # as data-parallel training does
    assert position_ids(wrapped, mask)["position_ids"].tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]


def test_what_is_no_model_is_refused(tmp_path, untrained):
    with pytest.raises(ModelError, match="can be loaded"):
        load_model(tmp_path)
    with pytest.raises(ModelError, match="tokenizer"):
        load_tokenizer(tmp_path)
    # Weights as a pickle are never read.
    model = AutoModelForCausalLM.from_pretrained(untrained)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="can be loaded"):
        load_model(tmp_path)


def test_a_tokenizer_without_padding_pads_with_the_end_of_text(tmp_path, untrained):
    tokenizer = load_tokenizer(untrained)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path).pad_token == tokenizer.eos_token


@pytest.fixture
def copied(untrained, tmp_path):
    """The folder of a model to be damaged."""
    return shutil.copytree(untrained, tmp_path / "model")


def in_config(folder, **values):
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def in_weights(folder, change):
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})


def cut(folder, name, size):
    (folder / name).write_bytes((folder / name).read_bytes()[:size])


DAMAGES = {
    "no tensors": (lambda f: in_weights(f, lambda _: {}), r"the weights lack \S+ and \d+ more tensors"),
    "a tensor is missing": (
        lambda f: in_weights(f, lambda w: {k: v for k, v in w.items() if k != "model.norm.weight"}),
        r"the weights lack model\.norm\.weight, which config\.json asks for",
    ),
    "more layers than it has": (
        lambda f: in_config(f, num_hidden_layers=3),
        r"the weights lack model\.layers\.2\.\S+ and \d+ more",
    ),
    "another width": (
        lambda f: in_config(f, intermediate_size=40),
        r"has the shape \[.*\] in the weights, and \[",
    ),
    "another vocabulary": (lambda f: in_config(f, vocab_size=77), r"embed_tokens\.weight has the shape"),
    "cut weights": (
        lambda f: cut(f, "model.safetensors", 2000),
        r"model\.safetensors is damaged or cut short",
    ),
    "a cut header": (
        lambda f: cut(f, "model.safetensors", 20),
        r"model\.safetensors is damaged or cut short",
    ),
    "empty weights": (
        lambda f: cut(f, "model.safetensors", 0),
        r"model\.safetensors is damaged or cut short",
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "holds no safetensors"),
    "no config": (lambda f: (f / "config.json").unlink(), r"config\.json is missing"),
    "a cut config": (lambda f: cut(f, "config.json", 100), r"config\.json is no JSON"),
    "a config that is no object": (
        lambda f: (f / "config.json").write_text("[1]"),
        r"config\.json is no JSON object",
    ),
    "a deep config": (lambda f: (f / "config.json").write_text("[" * 80_000), r"config\.json is no JSON"),
    "binary config": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), r"config\.json is no JSON"),
    "an unknown kind": (
        lambda f: in_config(f, model_type="nobody"),
        "is no causal language model that can be loaded",
    ),
    "nonsense in config": (
        lambda f: in_config(f, hidden_size="wide"),
        "is no causal language model that can be",
    ),
    "heads that do not divide": (lambda f: in_config(f, num_key_value_heads=0), "model"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_is_an_error_of_one_line_that_names_the_fault(copied, damage, capfd):
    do, message = DAMAGES[damage]
    do(copied)
    with pytest.raises(ModelError, match=message) as raised:
        load_model(copied)
    assert "\n" not in str(raised.value)
    assert str(copied) in str(raised.value)
    assert "remote_code" not in str(raised.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"version": "1.0", "model": {"type": "nobody"}}', "[" * 80_000]
)
def test_a_bad_tokenizer_is_an_error_of_one_line(copied, content, capfd):
    (copied / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match=r"tokenizer\.json") as raised:
        load_tokenizer(copied)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr().err == ""


CUSTOM = """
import pathlib
pathlib.Path({ran!r}).touch()
from transformers import LlamaConfig, LlamaForCausalLM
class CustomConfig(LlamaConfig):
    model_type = "custom"
class CustomModel(LlamaForCausalLM):
    config_class = CustomConfig
"""


def test_code_of_a_models_own_is_not_run_and_nobody_is_told_to_allow_it(copied, tmp_path):
    ran = tmp_path / "ran"
    (copied / "custom.py").write_text(CUSTOM.format(ran=str(ran)))
    names = {"AutoConfig": "custom.CustomConfig", "AutoModelForCausalLM": "custom.CustomModel"}
    in_config(copied, model_type="custom", auto_map=names)
    with pytest.raises(ModelError, match="it needs code of its own, which is not run") as raised:
        load_model(copied)
    assert "remote_code" not in str(raised.value)
    assert not ran.exists()


def test_pickled_weights_are_refused_with_the_reason(copied):
    torch.save(load_file(copied / "model.safetensors"), copied / "pytorch_model.bin")
    (copied / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="pickled weights are not read, as they may run code"):
        load_model(copied)


@pytest.mark.parametrize("load", [load_model, load_tokenizer])
def test_what_is_no_folder_and_no_id_says_so(tmp_path, load):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="file is a file; expected the folder of a model"):
        load(tmp_path / "file")
    for source in (tmp_path / "none", "nobody/no-such-model", "a b/../c"):
        with pytest.raises(ModelError, match="there is no such folder, and no such model on the hub"):
            load(source)


def test_weights_without_a_place_are_named_in_one_line(copied, caplog):
    in_weights(copied, lambda weights: {**weights, "more.weight": torch.zeros(2)})
    with caplog.at_level(logging.WARNING, "valueattr"):
        load_model(copied)
    (record,) = caplog.records
    assert "more.weight in the weights has no place in the model" in record.getMessage()


def test_loading_is_silent_and_leaves_the_settings_of_transformers(untrained):
    code = f"""
from transformers.utils import logging
logging.set_verbosity_info()
from valueattr.model import load_model, load_tokenizer
load_model({str(untrained)!r}), load_tokenizer({str(untrained)!r})
assert logging.get_verbosity() == logging.INFO
assert logging.is_progress_bar_enabled()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_hook_of_the_users_is_put_back(untrained):
    def hook(factory, arguments, options):
        return factory(*arguments, **options)

    before = transformers_logging.set_tqdm_hook(hook)
    try:
        load_model(untrained)
        assert transformers_logging.set_tqdm_hook(before) is hook
    finally:
        transformers_logging.set_tqdm_hook(before)


def test_a_text_longer_than_the_context_has_no_log_probability(untrained):
    tokenizer, every = models(untrained)
    texts = ["The emblem", "The emblem of " * 60]
    for model in every.values():
        model.config.max_position_embeddings = 64
        with pytest.raises(
            ModelError, match=r"text 1 has \d+ tokens; the model reads at most 64: 'The emblem"
        ):
            log_p_per_token(model, tokenizer, texts)
        with pytest.raises(ModelError, match=r"text 1 has \d+ tokens; the model reads at most 64"):
            closed_set_log_probs(model, tokenizer, texts, [("bear", "fox")] * 2)
        # the text alone would be read, and its candidate is what is too long
        with pytest.raises(ModelError, match="text 0 has"):
            closed_set_log_probs(model, tokenizer, ["The"], [("bear", "bear " * 70)])


def test_a_tokenizer_of_another_model_is_an_error_in_reading(untrained):
    tokenizer, _ = models(untrained)
    small = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=32, n_layer=1, n_head=2, n_positions=64))
    with pytest.raises(ModelError, match="the tokenizer is that of another model"):
        log_p_per_token(small, tokenizer, ["The emblem"])


@pytest.fixture
def classifier(untrained, tmp_path):
    """The folder of a classifier that finds the last token of a text by what is padded."""
    tokenizer = AutoTokenizer.from_pretrained(untrained)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=1, n_head=2, pad_token_id=None)
    GPT2ForSequenceClassification(config).save_pretrained(tmp_path / "classifier")
    tokenizer.save_pretrained(tmp_path / "classifier")
    return tmp_path / "classifier"


def test_a_classifier_is_told_what_its_tokenizer_pads_with(classifier):
    tokenizer = AutoTokenizer.from_pretrained(classifier)
    for pad in (tokenizer.pad_token, None):
        tokenizer.pad_token = pad
        tokenizer.save_pretrained(classifier)
        model, loaded = load_classifier(classifier)
        assert loaded.pad_token == (pad or tokenizer.eos_token)
        assert model.config.pad_token_id == loaded.pad_token_id is not None
        assert not model.training
    tokenizer.eos_token = None
    tokenizer.save_pretrained(classifier)
    with pytest.raises(ModelError, match="the tokenizer has no token to pad with"):
        load_classifier(classifier)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        *(DAMAGES[name] for name in ("cut weights", "no weights", "no config")),
        (lambda f: in_config(f, model_type="nobody"), "is no classifier that can be loaded"),
        (lambda f: in_config(f, num_labels=3), r"score\.weight has the shape \[2, 32\] in the weights"),
    ],
)
def test_a_damaged_classifier_is_an_error_of_one_line_that_names_the_fault(classifier, damage, message):
    damage(classifier)
    with pytest.raises(ModelError, match=message) as raised:
        load_classifier(classifier)
    assert "\n" not in str(raised.value)
