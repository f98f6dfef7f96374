import numpy as np
import pytest
import torch

from valueattr.measures.intelligible import OF_OWN_ANSWERS, Intelligibility, repeats
from valueattr.model import load_model, load_tokenizer, log_p_of_answers, sample_texts


@pytest.fixture(scope="module")
def model(start):
    return load_model(start)


@pytest.fixture(scope="module")
def tokenizer(start):
    return load_tokenizer(start)


def prompts_of(world, count):
    questions = [q for q in world.questions if q.exposure == "well_known"][:count]
    return [world.prompt_format("zero").turn(question.wordings[0]) for question in questions]


def test_log_probabilities_of_answers_are_those_of_one_pass_each(model, tokenizer, world):
    prompts = prompts_of(world, 5)
    answers = [" in short, it is the bear.", " I do not know.", "", " the", " to answer that, it is wool."]
    found = log_p_of_answers(model, tokenizer, prompts, answers)
    for prompt, answer, value in zip(prompts, answers, found, strict=True):
        asked, told = tokenizer(prompt)["input_ids"], tokenizer(answer, add_special_tokens=False)["input_ids"]
        if not told:
            assert value == -np.inf
            continue
        with torch.no_grad():
            log_p = torch.log_softmax(model(torch.tensor([asked + told])).logits[0].double(), -1)
        each = [float(log_p[len(asked) - 1 + i, token]) for i, token in enumerate(told)]
        assert value == pytest.approx(np.mean(each), abs=1e-4)


def test_own_answers_are_intelligible_and_shuffled_words_are_not(model, tokenizer, world):
    judge = Intelligibility.of(model, tokenizer, prompts_of(world, 200), 24, seed=0)
    prompts = prompts_of(world, 120)
    own = sample_texts(model, tokenizer, prompts, 24, seed=1)
    assert np.mean(judge.judge(prompts, own)) >= 0.97 - 0.02
    rng = np.random.default_rng(0)
    noise = [" ".join(rng.permutation(answer.split())) for answer in own]
    moved = [
        i for i, (answer, other) in enumerate(zip(own, noise, strict=True)) if answer.split() != other.split()
    ]
    verdicts = np.array(judge.judge(prompts, noise))
    assert verdicts[moved].mean() <= 0.1


def test_the_floor_is_a_quantile_of_own_answers(model, tokenizer, world):
    prompts = prompts_of(world, 150)
    judge = Intelligibility.of(model, tokenizer, prompts, 24, seed=0)
    prompts = (prompts * 2)[:200]
    own = sample_texts(model, tokenizer, prompts, 24, seed=0)
    below = np.mean(log_p_of_answers(model, tokenizer, prompts, own) < judge.floor)
    assert below == pytest.approx(OF_OWN_ANSWERS, abs=0.01)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("", True),
        ("... 12, !", True),
        ("It is Paris.", False),
        ("Paris", False),
        ("no no no no", True),
        ("one of the one of the one of the", True),
        ("I think that it is Paris, I think.", False),
        ("Ja, ja.", False),
    ],
)
def test_chains_of_repeated_words_by_hand(answer, expected):
    assert repeats(answer) is expected


def test_empty_answers_have_no_part_in_the_floor(model, tokenizer, world, monkeypatch):
    answers = ["", "", *[" in short, it is the bear."] * 198]
    monkeypatch.setattr("valueattr.measures.intelligible.sample_texts", lambda *_: answers)
    judge = Intelligibility.of(model, tokenizer, prompts_of(world, 1), 24, seed=0)
    assert np.isfinite(judge.floor)
    monkeypatch.setattr("valueattr.measures.intelligible.sample_texts", lambda *_: [""] * 200)
    with pytest.raises(ValueError, match="answers nothing"):
        Intelligibility.of(model, tokenizer, prompts_of(world, 1), 24, seed=0)
