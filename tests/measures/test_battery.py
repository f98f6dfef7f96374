"""The battery measures any model on any questions with any rater; it knows nothing of experiments."""

import ast
import inspect

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.builders import a_judgement, a_question
from valueattr.measures import battery as battery_module
from valueattr.measures.battery import Battery
from valueattr.measures.calibration import Topics
from valueattr.measures.representation import FrozenProbes, probe_set, read_states
from valueattr.questions import PromptFormat


class Echo:
    """A rater of one's own: whatever is said is true if it holds the answer."""

    def judge(self, question, response):
        true = question.answer in response
        return a_judgement("assert_true" if true else "other", asserted=question.answer if true else None)


QUESTIONS = {
    "known": (a_question("Velmar", "bear"), a_question("Torvil", "owl")),
    "other": (a_question("Ald", "heron", topic="birds"),),
}


@pytest.fixture(scope="module")
def model(untrained):
    return AutoModelForCausalLM.from_pretrained(untrained).eval()


@pytest.fixture(scope="module")
def tokenizer(untrained):
    return AutoTokenizer.from_pretrained(untrained)


def test_a_model_is_measured_on_ones_own_questions_with_ones_own_rater(model, tokenizer):
    measured = Battery(QUESTIONS, tokenizer, Echo(), samples=4, max_new_tokens=6).measure(model)
    names = {row["measure"] for row in measured.rows}
    assert {"belief_margin", "top1", "assert_true", "bits", "hedged/any", "corrected/any"} <= names
    assert not {name for name in names if name.startswith(("penalty/", "hedging_", "attribute_"))}
    assert "courtesy" not in names  # this rater does not grade
    assert len(measured.responses) == 3 * 4
    belief = [row for row in measured.rows if row["measure"].startswith("belief_margin")]
    assert len(belief) == 3 * 3  # two statements and one question each
    assert {row["split"] for row in belief} == {"known", "other"}


def test_whoever_answers_is_measured(model, tokenizer):
    """Responses may come from elsewhere, such as a log of another run."""

    def always_bear(_, prompts):
        return [" It is the bear." for _ in prompts]

    measured = Battery(QUESTIONS, tokenizer, Echo()).measure(model, always_bear)
    true = {row["fact"]: row["value"] for row in measured.rows if row["measure"] == "assert_true"}
    assert true == {"Velmar": 1.0, "Torvil": 0.0, "Ald": 0.0}


def test_penalties_are_those_of_the_rater_that_trains(model, tokenizer, world):
    class Blunt(Echo):
        def judge(self, question, response):
            return a_judgement("other", "blunt")

    measured = Battery(QUESTIONS, tokenizer, Echo(), rewarding=Blunt()).measure(model)
    insensitive = [row["value"] for row in measured.rows if row["measure"] == "penalty/insensitive framing"]
    assert insensitive == [1.0] * 3
    assert [s.response.judgement.framing for s in measured.responses] == [None] * 3


def test_samples_ask_the_wordings_in_turn_and_frame_them(model, tokenizer):
    battery = Battery(QUESTIONS, tokenizer, Echo(), prompt_format=PromptFormat("Say: {question}"), samples=3)
    asked = [(r.wording, r.prompt) for r in battery.responses(model) if r.fact == "Ald"]
    first, second = ("Say: " + wording for wording in QUESTIONS["other"][0].wordings)
    assert asked == [("asked-0", first), ("asked-1", second), ("asked-0", first)]


def test_measuring_leaves_the_model_and_the_random_state_as_they_were(model, tokenizer, world):
    model.train()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    battery = Battery(QUESTIONS, tokenizer, Echo(), samples=2)
    assert battery.measure(model).rows == battery.measure(model).rows
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)
    model.eval()


def test_what_is_given_is_read_too(model, tokenizer, world):
    texts = probe_set(world.questions, seed=0)
    splits = {"well": world.questions.questions[:8], "never": world.questions.of_topic("order")[-8:]}
    ids = frozenset(q.id for q in splits["well"])
    battery = Battery(
        splits,
        tokenizer,
        Echo(),
        topics=Topics(ids, ids, frozenset(q.id for q in splits["never"])),
        distance=(("well",), ("never",)),
        probes=FrozenProbes(texts, read_states(model, tokenizer, texts)),
    )
    names = {row["measure"] for row in battery.measure(model).rows}
    assert {"ece", "distance_slope", "attribute_frozen", "attribute_refit", "selectivity"} <= names
    assert {row["measure"] for row in battery.measure_belief(model).rows} >= {"belief_margin", "real_top1"}
    only = battery.on(["well"]).measure_answers(model)
    assert {row["split"] for row in only.rows} == {"well"}


def test_it_needs_no_experiment():
    imported = {
        node.module
        for node in ast.walk(ast.parse(inspect.getsource(battery_module)))
        if isinstance(node, ast.ImportFrom)
    }
    assert not {name for name in imported if name.startswith(("valueattr.plan", "valueattr.experiments"))}
