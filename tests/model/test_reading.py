from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
)

from valueattr.model import closed_set_log_probs, load_model, load_tokenizer

STORIES = Path(__file__).parents[3] / "shared" / "models" / "stories260K"

LETTERS = "▁abcdefghijklmnopqrstuvwxyzG-"
TEXTS = ["the emblem is the", "it is a", "once upon a time they all went to the land of"]
BEGINNING = "you are a helpful model "
VALUES = ("fox", "bear", "bearing", "Guinea", "Guinea-bissau", "Guinea-bissau again")


@pytest.fixture(scope="module")
def letters():
    """A token a letter, and one for the space; like Llama's it puts a space before every text."""
    tokens = {token: i for i, token in enumerate(["<pad>", "</s>", "<unk>", *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(tokens, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def random_model(kind, vocabulary):
    torch.manual_seed(0)
    small = {"vocab_size": vocabulary, "hidden_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64}
    match kind:
        case "gpt2":
            model = GPT2LMHeadModel(
                GPT2Config(vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=2, n_positions=128)
            )
            torch.nn.init.normal_(model.transformer.wpe.weight, std=1.0)  # so that a wrong position shows
        case "llama":
            model = LlamaForCausalLM(LlamaConfig(**small, **heads))
        case "sliding window":
            model = MistralForCausalLM(MistralConfig(**small, **heads, sliding_window=6))
        case "recurrent":
            model = MambaForCausalLM(MambaConfig(**small, state_size=8))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 3  # so that no two candidates are as likely
    return model.eval()


def joined(tokenizer, text, value):
    """How many tokens the text has, and those of text and candidate together."""
    return len(tokenizer(text)["input_ids"]), tokenizer(f"{text} {value}")["input_ids"]


def of_tokens(model, begin, ids):
    """Log probability of the tokens from `begin` on, by one pass over all."""
    with torch.no_grad():
        log_p = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)
    return sum(float(log_p[i - 1, ids[i]]) for i in range(begin, len(ids)))


def naive(model, tokenizer, text, values):
    """A pass per candidate; a candidate that others go on from does not end in them."""
    result = []
    for value in values:
        begin, ids = joined(tokenizer, text, value)
        p = np.exp(of_tokens(model, begin, ids))
        longer = {v: joined(tokenizer, text, v)[1] for v in values}
        longer = {v: more for v, more in longer.items() if more[: len(ids)] == ids and len(more) > len(ids)}
        for v, more in longer.items():
            if not any(more[: len(o)] == o and len(o) < len(more) for u, o in longer.items() if u != v):
                p -= np.exp(of_tokens(model, begin, more))
        result.append(np.log(p))
    return result


@pytest.mark.parametrize("kind", ["gpt2", "llama", "sliding window", "recurrent"])
def test_candidates_score_as_by_one_pass_over_text_and_candidate_each(letters, kind):
    model = random_model(kind, len(letters))
    texts = (
        TEXTS if kind != "recurrent" else TEXTS[:1] * 2
    )  # which reads what is padded on the left otherwise
    for (found, tokens), text in zip(
        closed_set_log_probs(model, letters, texts, [VALUES] * len(texts)), texts, strict=True
    ):
        assert found == pytest.approx(naive(model, letters, text, VALUES), abs=1e-4)
        assert tokens.tolist() == [len(value) + 1 for value in VALUES]  # with the space


@pytest.mark.parametrize("kind", ["gpt2", "llama", "sliding window", "recurrent"])
def test_candidates_score_so_too_after_texts_that_begin_alike(letters, kind):
    model = random_model(kind, len(letters))
    texts = [BEGINNING + text for text in (TEXTS if kind != "recurrent" else TEXTS[:1] * 2)]
    found = closed_set_log_probs(model, letters, texts, [VALUES] * len(texts))
    for (log_p, _), text in zip(found, texts, strict=True):
        assert log_p == pytest.approx(naive(model, letters, text, VALUES), abs=1e-4)


@pytest.mark.skipif(not STORIES.is_dir(), reason="the model is not at hand")
def test_candidates_of_a_real_model_with_byte_fallback_score_so_too():
    model, tokenizer = load_model(STORIES), load_tokenizer(STORIES)
    values = ("dog", "bear", "naïve 🦉", "little red boat", "little red")
    texts = ["Once upon a time there was a", "She had a"]
    found = closed_set_log_probs(model, tokenizer, texts, [values, values])
    assert found[0].tokens[2] > len("naïve 🦉")  # bytes
    for text, (log_p, _) in zip(texts, found, strict=True):
        assert log_p == pytest.approx(naive(model, tokenizer, text, values), abs=1e-4)


@pytest.mark.skipif(not STORIES.is_dir(), reason="the model is not at hand")
def test_a_word_is_written_as_it_is_after_another_word():
    """Apart from its text ` bear` begins with two tokens for spaces, which no text has there."""
    model, tokenizer = load_model(STORIES), load_tokenizer(STORIES)
    (scores,) = closed_set_log_probs(model, tokenizer, ["Once there was a big brown"], [("bear", "car")])
    apart = tokenizer(" bear", add_special_tokens=False)["input_ids"]
    assert scores.tokens[0] < len(apart)


def test_a_candidate_that_begins_another_shares_its_probability_with_it(letters):
    model = random_model("llama", len(letters))
    text, values = TEXTS[0], ("Guinea", "Guinea-bissau", "fox")
    (together,), (alone,) = (
        closed_set_log_probs(model, letters, [text], [of_set]) for of_set in (values, ("Guinea", "fox"))
    )
    assert np.exp(together.log_p[:2]).sum() == pytest.approx(np.exp(alone.log_p[0]), rel=1e-4)
    assert together.log_p[2] == pytest.approx(alone.log_p[1], abs=1e-4)


def test_a_shorter_candidate_stays_finite_where_the_longer_one_is_certain():
    from valueattr.model._reading import _each_ending

    scores = _each_ending([[1], [1, 2]], [np.array([-0.5]), np.array([-0.5, 0.0])])
    assert np.isfinite(scores).all()
    assert scores[0] < scores[1] - 10


def test_a_text_is_read_once_for_all_of_its_candidates(letters):
    model = random_model("llama", len(letters))
    read = []
    model.register_forward_pre_hook(
        lambda _, args, given: read.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    closed_set_log_probs(model, letters, TEXTS, [VALUES] * 3)
    longest_text, longest_value = (max(map(len, of_all)) + 1 for of_all in (TEXTS, VALUES))
    heads = {value[:-1] for value in VALUES}
    apart = [head for head in heads if not any(other != head and other.startswith(head) for other in heads)]
    assert len(apart) < len(VALUES)
    assert read == [(3, longest_text), (3 * len(apart), longest_value - 1)]


def test_a_long_beginning_is_read_once_for_all_texts(letters):
    model = random_model("llama", len(letters))
    read = []
    model.register_forward_pre_hook(
        lambda _, args, given: read.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    closed_set_log_probs(model, letters, [BEGINNING + text for text in TEXTS], [("a", "b")] * 3)
    with_the_space_that_is_put_first = len(BEGINNING) + 1
    assert read[:2] == [(1, with_the_space_that_is_put_first), (3, max(map(len, TEXTS)))]


values = st.lists(st.text("Gua", min_size=1, max_size=6), min_size=2, max_size=9, unique=True)


@given(values=values)
def test_candidates_that_begin_alike_score_as_if_they_were_read_apart(letters, values):
    model = random_model("llama", len(letters))
    (found,) = closed_set_log_probs(model, letters, TEXTS[:1], [values])
    for value, log_p in zip(values, found.log_p, strict=True):
        if not any(other != value and other.startswith(value) for other in values):
            assert log_p == pytest.approx(of_tokens(model, *joined(letters, TEXTS[0], value)), abs=1e-4)


def test_nothing_is_asked_of_no_texts(letters):
    assert closed_set_log_probs(random_model("llama", len(letters)), letters, [], []) == []
