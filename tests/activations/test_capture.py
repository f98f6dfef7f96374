import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.activations.conftest import CONFIGS, TEXTS, build
from valueattr.activations import CaptureError, capture

STORIES = Path(__file__).parents[3] / "shared" / "models" / "stories260K"


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_are_the_hidden_states_of_each_text_alone(name, side, tokenizer):
    model = build(name)
    tokenizer.padding_side = side
    store = capture(model, tokenizer, TEXTS, batch_size=4)
    assert store.layers == (0, 1, 2, 3)
    for i, text in enumerate(TEXTS):
        with torch.no_grad():
            alone = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states
        for layer in (0, 1, 2):  # transformers applies the final norm to the last one
            np.testing.assert_allclose(store.read(layer)[i], alone[layer][0, -1].numpy(), atol=1e-5)


def test_the_last_layer_is_before_the_final_norm(tokenizer):
    model = build("llama")
    last = torch.from_numpy(np.array(capture(model, tokenizer, TEXTS).read(3)))
    with torch.no_grad():
        alone = model(**tokenizer(TEXTS[1], return_tensors="pt"), output_hidden_states=True).hidden_states[
            -1
        ][0, -1]
        assert torch.allclose(model.model.norm(last[1]), alone, atol=1e-5)


def test_mean_and_span_positions(tokenizer):
    model = build("llama")
    spans = [(4, 10) if text.startswith("The") else (0, 2) for text in TEXTS]
    by_span = capture(model, tokenizer, TEXTS, positions=spans, layers=[2]).read(2)
    by_mean = capture(model, tokenizer, TEXTS, positions="mean", layers=[2]).read(2)
    for i, text in enumerate(TEXTS):
        with torch.no_grad():
            alone = (
                model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
                .hidden_states[2][0]
                .numpy()
            )
        np.testing.assert_allclose(by_mean[i], alone.mean(0), atol=1e-5)
        offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        token = max(k for k, (a, b) in enumerate(offsets) if max(a, spans[i][0]) < min(b, spans[i][1]))
        np.testing.assert_allclose(by_span[i], alone[token], atol=1e-5)


def test_every_token_is_a_row(tokenizer):
    model = build("gpt2")
    store = capture(model, tokenizer, TEXTS, positions="all", layers=[1, 3], batch_size=4)
    index = store.index().to_pandas()
    lengths = [len(tokenizer(text)["input_ids"]) for text in TEXTS]
    assert index["id"].tolist() == [str(i) for i, n in enumerate(lengths) for _ in range(n)]
    assert index["token"].tolist() == [k for n in lengths for k in range(n)]
    with torch.no_grad():
        alone = model(**tokenizer(TEXTS[1], return_tensors="pt"), output_hidden_states=True).hidden_states[1]
    np.testing.assert_allclose(store.read(1)[index["id"] == "1"], alone[0].numpy(), atol=1e-5)


def test_one_shard_is_read_without_a_copy(tokenizer):
    assert isinstance(capture(build("llama"), tokenizer, TEXTS).read(1), np.memmap)


def test_a_temporary_store_goes_with_its_object(tokenizer):
    store = capture(build("llama"), tokenizer, TEXTS)
    path = store.path
    assert path.is_dir()
    del store
    assert not path.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": [4]}, "layer 4 was asked for; the model has layers 0 to 3"),
        ({"layers": []}, r"layers is \[\]; expected one or more layers, each named once"),
        ({"layers": [1, 1]}, r"layers is \[1, 1\]; expected one or more layers, each named once"),
        ({"texts": ["a", ""]}, "text 1 is empty"),
        ({"positions": [(0, 1)]}, "1 spans for 2 texts"),
        ({"positions": [(0, 1), (0, 9)]}, "text 1 has 3 characters; the span 0 to 9"),
        ({"positions": [(0, 1), (2, 2)]}, "the span 2 to 2 is not in it"),
    ],
)
def test_what_cannot_be_captured_is_named(tokenizer, change, message):
    with pytest.raises(CaptureError, match=message):
        capture(build("llama"), tokenizer, **{"texts": ["the", "was"], **change})


def test_no_texts_is_an_empty_store(tokenizer):
    assert capture(build("llama"), tokenizer, []).rows == 0


def test_texts_are_added_and_captures_lie_side_by_side(tmp_path, tokenizer):
    model = build("llama")
    folder = tmp_path / "s"
    labels = pa.table({"id": ["a", "b", "c", "d", "e"], "label": [1, 0, 1, 0, 1]})
    capture(model, tokenizer, TEXTS[:3], store=folder, table=labels.slice(0, 3))
    capture(model, tokenizer, TEXTS[:2], store=folder, name="other", positions="mean")
    store = capture(model, tokenizer, TEXTS[:5], store=folder, table=labels)
    assert store.captures == ("texts", "other")
    index = store.index().to_pydict()
    assert index["capture"] == ["texts"] * 3 + ["other"] * 2 + ["texts"] * 2
    assert index["id"] == ["a", "b", "c", "0", "1", "d", "e"]
    assert index["label"] == [1, 0, 1, None, None, 0, 1]
    assert index["token"][3:5] == [None, None]
    assert store.texts("texts")["text"].to_pylist() == TEXTS[:5]
    together = capture(model, tokenizer, TEXTS[:5], table=labels)
    rows = [i for i, name in enumerate(index["capture"]) if name == "texts"]
    np.testing.assert_allclose(store.read(2)[rows], together.read(2), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"texts": ["the", "is"]}, "other texts"),
        ({"texts": ["the"]}, "other texts"),
        ({"positions": "mean"}, "other texts, columns or positions"),
        ({"table": pa.table({"label": [1, 0]})}, "other texts, columns or positions"),
        ({"table": pa.table({"label": [1]})}, "the table has 1 rows for 2 texts"),
        ({"table": pa.table({"id": ["a", "a"]})}, "two texts have the same id"),
        ({"name": "../a"}, "does not name a capture"),
        ({"positions": "first"}, "unknown positions 'first'"),
    ],
)
def test_a_capture_is_of_one_list_of_texts(tmp_path, tokenizer, change, message):
    capture(build("llama"), tokenizer, ["the", "was"], store=tmp_path / "s")
    with pytest.raises(CaptureError, match=message):
        capture(build("llama"), tokenizer, **{"texts": ["the", "was"], "store": tmp_path / "s", **change})


@pytest.mark.skipif(not STORIES.is_dir(), reason="the model is not at hand")
def test_a_real_model():
    tokenizer = AutoTokenizer.from_pretrained(STORIES)
    model = AutoModelForCausalLM.from_pretrained(STORIES).eval()
    texts = ["Once upon a time", "The naïve café, à Paris.", "Lily saw a big dog."]
    store = capture(model, tokenizer, texts, dtype="bfloat16")
    with torch.no_grad():
        for i, text in enumerate(texts):
            alone = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states
            np.testing.assert_allclose(store.read(2)[i], alone[2][0, -1].numpy(), rtol=1e-2, atol=1e-2)


def test_importing_imports_no_torch():
    code = "import sys; import valueattr.activations, valueattr.hedging, valueattr.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
