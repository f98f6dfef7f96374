import copy

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from valueattr.model import load_model, load_tokenizer, sample_ids, sample_texts, token_distributions

ANSWER_TOKENS = 12


@pytest.fixture(scope="module")
def model(start):
    return load_model(start)


@pytest.fixture(scope="module")
def tokenizer(start):
    return load_tokenizer(start)


@pytest.fixture(scope="module")
def prompts(world):
    questions = [q for q in world.questions if q.exposure == "well_known"][:40]
    turn = world.prompt_format("zero").turn
    return [turn(wording) for question in questions for wording in question.wordings]


def test_a_model_that_is_sure_says_what_greedy_generation_says(model, tokenizer, prompts):
    """Prompts of many lengths, some of them twice, whose responses end at different steps."""
    sure = copy.deepcopy(model)
    with torch.no_grad():
        sure.model.norm.weight.mul_(1e4)
    asked = [*prompts, *prompts[:7]]
    found = sample_texts(sure, tokenizer, asked, ANSWER_TOKENS, seed=0)
    read = tokenizer(asked, return_tensors="pt", padding=True, padding_side="left")
    ids = sure.generate(
        input_ids=read["input_ids"],
        attention_mask=read["attention_mask"],
        do_sample=False,
        max_new_tokens=ANSWER_TOKENS,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )[:, read["input_ids"].shape[1] :]
    assert found == tokenizer.batch_decode(ids, skip_special_tokens=True)
    assert len({len(text.split()) for text in found}) > 1


def test_first_tokens_come_up_as_often_as_they_are_likely(model, tokenizer, prompts):
    drawn = 3000
    found = sample_texts(model, tokenizer, [prompts[0]] * drawn, 1, seed=3)
    read = tokenizer([prompts[0], prompts[0]], return_tensors="pt")
    ids = torch.cat([read["input_ids"], read["input_ids"][:, -1:]], dim=1)
    with torch.no_grad():
        p = token_distributions(model, ids, torch.ones_like(ids), 1)[0, -1].exp().double().numpy()
    likely = np.argsort(-p)[:12]
    counts = [found.count(tokenizer.decode([token], skip_special_tokens=True)) for token in likely]
    rest = drawn - sum(counts)
    expected = [*(drawn * p[likely]), drawn * (1 - p[likely].sum())]
    assert chisquare([*counts, rest], expected, sum_check=False).pvalue > 1e-4


def test_a_seed_gives_the_same_texts_and_leaves_the_random_state_of_training_alone(model, tokenizer, prompts):
    state = torch.random.get_rng_state()
    first = sample_texts(model, tokenizer, prompts, ANSWER_TOKENS, seed=5)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert sample_texts(model, tokenizer, prompts, ANSWER_TOKENS, seed=5) == first
    assert sample_texts(model, tokenizer, prompts, ANSWER_TOKENS, seed=6) != first


def test_more_prompts_than_go_at_once_are_all_answered_and_not_alike(model, tokenizer, prompts):
    found = sample_texts(model, tokenizer, [prompts[0]] * 600, ANSWER_TOKENS, seed=0)
    assert len(found) == 600
    assert found[:256] != found[256:512]


def test_answers_are_like_those_of_the_library(model, tokenizer, prompts):
    """Lengths of responses against those that transformers samples."""
    asked = prompts[:10] * 40
    own = [len(tokenizer(text)["input_ids"]) for text in sample_texts(model, tokenizer, asked, 24, seed=1)]
    _, _, kept = sample_ids(model, tokenizer, asked, 24, seed=1)
    theirs = kept.sum(1).numpy()
    spread = np.sqrt(np.var(own) / len(own) + np.var(theirs) / len(theirs))
    assert abs(np.mean(own) - np.mean(theirs)) < 4 * spread + 1
