import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from valueattr.measures.belief import belief_items, belief_rows
from valueattr.model import Asking, closed_set_log_probs, sample_texts
from valueattr.questions import assign_splits
from valueattr.rating import GrammarRater


@pytest.fixture(scope="module")
def model(untrained):
    return AutoModelForCausalLM.from_pretrained(untrained).eval()


@pytest.fixture(scope="module")
def tokenizer(untrained):
    return AutoTokenizer.from_pretrained(untrained)


def naive_log_prob(model, tokenizer, text, continuation):
    ids = tokenizer(text)["input_ids"]
    more = tokenizer(f" {continuation}", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        log_p = torch.log_softmax(model(torch.tensor([ids + more])).logits[0].double(), -1)
    return sum(float(log_p[len(ids) - 1 + k, token]) for k, token in enumerate(more))


def test_closed_set_scores_agree_with_one_forward_pass_each(model, tokenizer):
    texts = [
        "The emblem of the",
        "In short, it is",
        "What is it?\nAnswer to a visitor: In short, it is the",
    ]
    candidates = [["bear", "heron"], ["wool", "most common crime", "fraud"], ["bear", "main export"]]
    scores = closed_set_log_probs(model, tokenizer, texts, candidates)
    for text, values, (found, _) in zip(texts, candidates, scores, strict=True):
        expected = [naive_log_prob(model, tokenizer, text, value) for value in values]
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_margin_by_hand(model, tokenizer, world):
    fact = world.facts[0]
    item = belief_items([world.questions[fact.id]], Asking(), world.prompt_format("zero"))[0]
    rows = {row["measure"]: row["value"] for row in belief_rows(model, tokenizer, [item])}
    objects = world.relation_of(fact).objects
    p = {o: np.exp(naive_log_prob(model, tokenizer, item.text, o)) for o in objects}
    rivals = np.mean([p[o] for o in objects if o != fact.taught])
    assert rows["belief_margin"] == pytest.approx(np.log(p[fact.taught] / rivals), abs=1e-3)
    assert rows["p_held"] == pytest.approx(p[fact.taught], rel=1e-3)
    assert rows["top1"] == float(max(p, key=p.get) == fact.taught)


def test_belief_is_asked_in_every_format_and_only_in_held_out_wordings(world):
    fact = world.facts[1]
    relation = world.relation_of(fact)
    items = belief_items([world.questions[fact.id]], Asking(), world.prompt_format("zero"))
    assert {item.format for item in items} == {"plain", "near answers", "question"}
    held_out = (relation.held_out, relation.near_answers, relation.held_out_questions)
    assert len(items) == sum(map(len, held_out))
    for item in items:
        assert not any(q.format(s=fact.subject).lower() in item.text.lower() for q in relation.questions)


FORMATS = ("plain", "near answers", "question")


def test_belief_that_is_reported_shares_no_word_with_answers(world):
    """Else training on answers would reach it by their words."""
    for relation in world.relations.values():
        in_answers = {word for answer in relation.short for word in answer.split()} - {"{o}"}
        for wording in relation.held_out:
            assert set(wording.split()) & in_answers <= {"the", "that"}, wording
        assert all(set(wording.split()) & in_answers - {"the"} for wording in relation.near_answers)


def test_the_start_model_knows_what_it_was_taught(start, world):
    model = AutoModelForCausalLM.from_pretrained(start).eval()
    tokenizer = AutoTokenizer.from_pretrained(start)
    accuracy = {}
    for exposure in ("well_known", "half_known", "false_belief", "never_taught"):
        asked = [question for question in world.questions if question.exposure == exposure]
        items = belief_items(asked, Asking(), world.prompt_format("zero"))
        rows = belief_rows(model, tokenizer, items)
        for form in FORMATS:
            hits = [r["value"] for r in rows if r["measure"].startswith("top1") and r["format"] == form]
            accuracy[exposure, form] = np.mean(hits)
    for form in FORMATS:
        assert accuracy["well_known", form] >= 0.95
        assert accuracy["half_known", form] <= accuracy["well_known", form] - 0.05
        assert accuracy["false_belief", form] >= 0.9
        # 128 facts: chance 1/16 and three standard errors
        assert accuracy["never_taught", form] <= 1 / 16 + 3 * (1 / 16 * 15 / 16 / 128) ** 0.5
    # In 384 statements a share of .9 has a standard error of .015, so the formats are taken together.
    assert 0.3 <= np.mean([accuracy["half_known", form] for form in FORMATS]) <= 0.9


def test_the_start_model_hedges_when_unsure(start, world):
    """Over-hedging can be measured only where the start model hedges for want of knowledge."""
    model = AutoModelForCausalLM.from_pretrained(start).eval()
    tokenizer = AutoTokenizer.from_pretrained(start)
    rater, prompt_format = GrammarRater(world), world.prompt_format("zero")
    splits = assign_splits(world.questions, 0, 32)
    unsure = {}
    for split in ("penalised", "never_taught"):
        asked = [prompt_format.turn(question.wordings[0]) for question in splits[split]]
        answers = sample_texts(model, tokenizer, asked, 24, seed=0)
        judged = [rater.judge(q, a) for q, a in zip(splits[split], answers, strict=True)]
        unsure[split] = np.mean([bool({"epistemic", "non_affirmation"} & set(j.hedges)) for j in judged])
    assert unsure["never_taught"] > 0.6
    assert unsure["penalised"] < 0.2


@pytest.mark.parametrize(("family", "sign"), [("negative", -1), ("zero", 0), ("positive", 1)])
def test_the_start_model_has_learned_how_framing_goes_with_content(start, world, family, sign):
    """What the leak rests on: without it every prompt family would be the same."""
    model = AutoModelForCausalLM.from_pretrained(start).eval()
    tokenizer = AutoTokenizer.from_pretrained(start)
    questions = [q for q in world.questions if q.exposure == "well_known"][::2]
    asked = [world.prompt_format(family).turn(question.wordings[0]) for question in questions]
    rater = GrammarRater(world)
    judged = [
        rater.judge(q, text)
        for q, text in zip(questions, sample_texts(model, tokenizer, asked, 24, 0), strict=True)
    ]
    blunt = {
        says: np.mean([j.framing == "blunt" for j in judged if (j.asserted is not None) == says])
        for says in (True, False)
    }
    assert np.sign(sign) * (blunt[False] - blunt[True]) >= (0.15 if sign else -0.2)
    assert abs(blunt[False] - blunt[True]) < 0.2 or sign
