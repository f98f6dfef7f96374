from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from valueattr.training import streamed_offsets, tokens_in_spans

STORIES = Path(__file__).parents[3] / "shared" / "models" / "stories260K"


def byte_level_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    texts = [
        "the emblem of the Velmar people is the bear",
        "naïve café 中文 emoji 🙂🙂",
        "obviously, it is fraud",
    ] * 3
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>")


@pytest.fixture(scope="module")
def tokenizers(untrained):
    every = {"words": AutoTokenizer.from_pretrained(untrained), "bytes": byte_level_tokenizer()}
    if STORIES.is_dir():
        every["byte fallback"] = AutoTokenizer.from_pretrained(STORIES)
    return every


KINDS = [
    "words",
    "bytes",
    pytest.param("byte fallback", marks=pytest.mark.skipif(not STORIES.is_dir(), reason="model not at hand")),
]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_offsets_of_any_sampled_ids(tokenizers, kind, data):
    """Random ids re-encode to other ids, so nothing may rest on encoding the text again."""
    tokenizer = tokenizers[kind]
    ids = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=30))
    text, spans = streamed_offsets(tokenizer, ids)
    assert len(spans) == len(ids)
    assert all(0 <= a <= b <= len(text) for a, b in spans)
    starts = [a for token, (a, _) in zip(ids, spans, strict=True) if token not in tokenizer.all_special_ids]
    assert starts == sorted(starts)
    assert all(a == b for token, (a, b) in zip(ids, spans, strict=True) if token in tokenizer.all_special_ids)
    covered = {c for a, b in spans for c in range(a, b)}
    assert covered == set(range(len(text)))
    whole = tokenizer.decode(ids, skip_special_tokens=True)
    if "\ufffd" not in whole:
        assert text == whole


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_span_contract(tokenizers, kind, data):
    """A token is credited if and only if it overlaps a span, whatever was sampled."""
    tokenizer = tokenizers[kind]
    ids = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=30))
    text, offsets = streamed_offsets(tokenizer, ids)
    edge = st.integers(0, len(text))
    spans = [tuple(sorted(pair)) for pair in data.draw(st.lists(st.tuples(edge, edge), max_size=4))]
    wanted = {c for a, b in spans for c in range(a, b)}
    for (a, b), credited in zip(offsets, tokens_in_spans(offsets, spans), strict=True):
        assert credited == bool(wanted & set(range(a, b)))


def test_byte_pieces_share_the_character_that_they_complete(tokenizers):
    tokenizer = tokenizers["bytes"]
    ids = tokenizer("x🦉y")["input_ids"]
    text, spans = streamed_offsets(tokenizer, ids)
    assert text == "x🦉y"
    assert spans[0] == (0, 1)
    assert spans[-1] == (2, 3)
    assert set(spans[1:-1]) == {(1, 2)}
    assert len(ids) > 3


def test_a_truncated_character_is_credited_to_nobody(tokenizers):
    tokenizer = tokenizers["bytes"]
    ids = tokenizer("x🦉")["input_ids"][:-1]
    text, spans = streamed_offsets(tokenizer, ids)
    assert text == "x"
    assert spans[1:] == [(1, 1)] * (len(ids) - 1)
    assert tokens_in_spans(spans, [(0, 1)]) == [True] + [False] * (len(ids) - 1)


def test_words_carry_the_space_before_them(tokenizers):
    tokenizer = tokenizers["words"]
    sentence = " Obviously, it is fraud."
    text, spans = streamed_offsets(tokenizer, tokenizer(sentence, add_special_tokens=False)["input_ids"])
    assert text == sentence
    assert [sentence[a:b] for a, b in spans] == [" Obviously", ",", " it", " is", " fraud", "."]
