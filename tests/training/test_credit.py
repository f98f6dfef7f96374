"""The span contract: a token is credited if and only if it carries the aspect, with its channel's value."""

import random
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from tests.builders import a_judgement, a_response
from valueattr.rating import Feedback, GrammarRater
from valueattr.training import AttributedGRPOTrainer, streamed_offsets, tokens_in_spans
from valueattr.training._credit import (
    attribution_statistics,
    credited_tokens,
    group_z_scores,
    random_runs,
)
from valueattr.world import synthesise

from .test_offsets import byte_level_tokenizer

WORLD = synthesise(0)
FACT = next(f for f in WORLD.facts if f.relation == "emblem" and f.exposure == "well_known")
QUESTION = WORLD.questions[FACT.id]
BOTH = ("insensitive framing", "no true content")
SPLITS = ("penalised",)
OPENERS = [phrase for phrases in WORLD.english.framing.values() for phrase in phrases]
HEDGES = [phrase for phrases in WORLD.english.evasion.values() for phrase in phrases]


@pytest.fixture(scope="module")
def tokenizers(untrained):
    return {"words": AutoTokenizer.from_pretrained(untrained), "bytes": byte_level_tokenizer()}


# Openers in odd spelling, content, evasions, white space of all sorts, letters of all scripts.
pieces = st.one_of(
    st.sampled_from(OPENERS).flatmap(
        lambda p: st.sampled_from([p, p.upper(), p.capitalize(), p.replace(" ", "  ")])
    ),
    st.sampled_from([f"it is the {FACT.object}.", "the emblem is the bear", *HEDGES]),
    st.sampled_from(
        [" ", "  ", "\u00a0", "\n", "\t", "\u2009", "\u200d", "🦉", "é", "中", "ﬁ", "</s>", "<pad>"]
    ),
    st.text(max_size=4),
)


def contract(tokenizer, texts, cut, rewards):
    """Check one step of a trainer on sampled responses; every group is of two."""
    rater = GrammarRater(WORLD)
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"][: cut + 1] for text in texts]
    decoded = [streamed_offsets(tokenizer, row) for row in ids]
    rollouts = [
        a_response(FACT.id, rater.judge(QUESTION, text), text, sample=i)
        for i, (text, _) in enumerate(decoded)
    ]
    width = max(map(len, ids), default=0)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids]).reshape(len(ids), width)
    z = group_z_scores(torch.tensor(rewards), 2)
    trainer = SimpleNamespace(
        feedback=Feedback(BOTH, SPLITS, "span"),
        rollouts=rollouts,
        _offsets=[offsets for _, offsets in decoded],
        _z_scores=z,
        _own_rows=slice(0, len(ids)),
        args=SimpleNamespace(seed=0),
        state=SimpleNamespace(global_step=1),
    )
    advantages = AttributedGRPOTrainer._on_their_tokens(trainer, mask)
    assert advantages.shape == mask.shape
    for row, (rollout, (text, offsets)) in enumerate(zip(rollouts, decoded, strict=True)):
        expected = []
        for a, b in offsets:
            characters = set(range(a, b))
            of = {
                name: any(characters & set(range(start, end)) for start, end in rollout.judgement.spans[name])
                for name in ("framing", "content")
            }
            expected.append(float(z[row, 0]) * of["framing"] + float(z[row, 1]) * of["content"])
        got = advantages[row][: len(offsets)].tolist()
        assert got == pytest.approx(expected, abs=1e-6)
        assert (advantages[row][len(offsets) :] == 0).all()
        assert sum(map(abs, got)) == pytest.approx(sum(map(abs, expected)), abs=1e-5)
        for start, end in rollout.judgement.spans["framing"]:
            assert rater.judge(QUESTION, text[start:end]).framing is not None


responses = st.lists(st.lists(pieces, max_size=6).map(" ".join), min_size=2, max_size=2)
channels = st.lists(st.lists(st.sampled_from([0.0, -1.0]), min_size=2, max_size=2), min_size=2, max_size=2)
HEALTH = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.mark.parametrize("kind", ["words", "bytes"])
@given(responses, st.integers(0, 40), channels)
@settings(max_examples=250, deadline=None, suppress_health_check=HEALTH)
def test_span_contract(tokenizers, kind, texts, cut, rewards):
    contract(tokenizers[kind], texts, cut, rewards)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["words", "bytes"])
@given(responses, st.integers(0, 40), channels)
@settings(max_examples=5000, deadline=None, suppress_health_check=HEALTH)
def test_span_contract_at_length(tokenizers, kind, texts, cut, rewards):
    contract(tokenizers[kind], texts, cut, rewards)


@given(st.lists(st.booleans(), max_size=40), st.integers(0, 1000))
@settings(max_examples=500, deadline=None)
def test_random_runs_keep_count_and_lengths(marks, seed):
    def runs(row):
        return sorted(len(run) for run in "".join("x" if m else " " for m in row).split())

    placed = random_runs(marks, random.Random(seed))
    assert len(placed) == len(marks)
    assert sum(placed) == sum(marks)
    assert runs(placed) == runs(marks)


def test_random_runs_reach_every_place():
    rng = random.Random(0)
    seen = [0] * 8
    for _ in range(400):
        for i, mark in enumerate(random_runs([True, True] + [False] * 6, rng)):
            seen[i] += mark
    assert min(seen) > 20


def response(outcome, framing="blunt", split="penalised", spans=((0, 3), (3, 9))):
    return a_response(FACT.id, a_judgement(outcome, framing, spans=spans), "aaabbbccc", split=split)


OFFSETS = [(0, 3), (3, 6), (6, 9)]


def test_span_noise_replaces_its_share_of_spans():
    noisy = Feedback(("insensitive framing",), SPLITS, "span", span_noise=0.3)
    offsets = [(i, i + 1) for i in range(9)]
    true = tokens_in_spans(offsets, [(0, 3)])
    moved = sum(
        credited_tokens(noisy, "insensitive framing", response("other"), offsets, str(i)) != true
        for i in range(2000)
    )
    # a random run of 3 among 9 falls on its own place once in 7
    assert moved / 2000 == pytest.approx(0.3 * 6 / 7, abs=0.03)


def test_z_scores_by_hand():
    rewards = torch.tensor([[0.0, 0.0], [-1.0, 0.0], [-1.0, -1.0], [-1.0, -1.0]])
    scores = group_z_scores(rewards, 2)
    assert scores[:2, 0].tolist() == pytest.approx([0.7070, -0.7070], abs=1e-3)
    assert scores[:, 1].tolist() == [0.0] * 4  # within each group nothing varies


def test_leakage_and_shares_by_hand():
    """One group of two: A on content is +1 for an evasion and -1 for the truth, so lambda is -2 per unit."""
    feedback = Feedback(("insensitive framing",), SPLITS)
    rollouts = [response("assert_true"), response("hedge_only", "considerate")]
    found = attribution_statistics(
        feedback, [[-1.0] * 3, [1.0] * 3], rollouts, [OFFSETS, OFFSETS], group_size=2
    )
    assert found["leakage"] == pytest.approx(-2.0)
    assert found["leakage_zero_groups"] == 0.0
    assert (found["on_framing"], found["on_content"], found["on_other"]) == pytest.approx((1 / 3, 2 / 3, 0.0))
    assert found["precision"] == pytest.approx(1 / 3)


def test_credit_on_framing_alone_does_not_leak():
    feedback = Feedback(("insensitive framing",), SPLITS, "span")
    rollouts = [response("assert_true"), response("hedge_only", "considerate")]
    found = attribution_statistics(
        feedback, [[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], rollouts, [OFFSETS, OFFSETS], group_size=2
    )
    assert (found["leakage"], found["precision"]) == (0.0, 1.0)


def test_groups_without_variance_add_nothing_and_are_counted():
    feedback = Feedback(("insensitive framing",), SPLITS)
    rollouts = [response("assert_true"), response("assert_true")]
    rollouts += [response("assert_true", split="neutral"), response("other", split="neutral")]
    advantages = [[1.0] * 3, [-1.0] * 3, [5.0] * 3, [-5.0] * 3]
    found = attribution_statistics(feedback, advantages, rollouts, [OFFSETS] * 4, group_size=2)
    assert (found["leakage"], found["leakage_zero_groups"]) == (0.0, 1.0)
