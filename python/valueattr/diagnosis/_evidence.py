"""Whether a model still holds each fact, whatever it says: three readings a fact."""

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.diagnosis._relearning import RELEARNING, RelearningRecipe, relearned_belief
from valueattr.measures.belief import BeliefItem, mean_belief, plain_items
from valueattr.measures.representation import LastLayer
from valueattr.model import evaluating
from valueattr.probing import CrossFit
from valueattr.questions import Question, QuestionSet

EVIDENCE = ("few_shot", "probe", "relearned")
"""The readings: columns of `evidence`."""

_SHOTS = 3


def evidence(
    load: Callable[[], PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    questions: QuestionSet,
    taught: Collection[str],
    read: Collection[str],
    recipe: RelearningRecipe | None = RELEARNING,
    frozen: Mapping[str, CrossFit] | None = None,
) -> pd.DataFrame:
    """A row for each of the questions `read`, by id, in nats: `belief` and the three readings of what stands behind it.

    few_shot: belief margin behind three facts of other subjects. probe: log-odds of the answer by a probe of the last
    layer that was fitted on other subjects of this model. relearned: belief margin after facts of other subjects were
    taught again.

    load: gives the model anew, from disk. questions: all there are. taught: ids of what the model once held, which shots
    and lessons are drawn from. recipe: None leaves relearning out. frozen: another model's probes, which add `frozen_probe`, the log-odds by them.

    Raises:
        RelearningError: relearning taught nothing.
    """
    asked = [question for question in questions if question.id in read]
    columns = _as_it_is(load(), tokenizer, asked, questions, taught, frozen)
    if recipe is not None:
        columns["relearned"] = relearned_belief(load, tokenizer, questions, taught, read, recipe)
    return pd.DataFrame(columns).loc[[question.id for question in asked]]


def _as_it_is(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    asked: Sequence[Question],
    questions: QuestionSet,
    taught: Collection[str],
    frozen: Mapping[str, CrossFit] | None,
) -> dict[str, pd.Series]:
    """The readings for which the model is not trained."""
    few_shot = _few_shot_items(asked, questions, taught)
    with evaluating(model):
        columns = {
            name: mean_belief(model, tokenizer, items)["belief_margin"]
            for name, items in (("belief", plain_items(asked)), ("few_shot", few_shot))
        }
        layer = LastLayer.of(model, tokenizer, questions)
    columns["probe"] = layer.held_log_odds(layer.probes())
    if frozen is not None:
        columns["frozen_probe"] = layer.held_log_odds(frozen)
    return columns


def _few_shot_items(
    asked: Iterable[Question], questions: QuestionSet, taught: Collection[str]
) -> list[BeliefItem]:
    """Shots are of the same relation, so that they show what is asked for."""
    of_relation: dict[str, list[Question]] = {}
    for question in questions:
        if question.id in taught:
            of_relation.setdefault(question.relation, []).append(question)
    items = []
    for item in plain_items(asked):
        rng = random.Random(f"shots {item.question.id} {item.wording}")
        others = [
            q for q in of_relation.get(item.question.relation, []) if q.subject != item.question.subject
        ]
        shots = [rng.choice(q.taught_as) for q in rng.sample(others, min(_SHOTS, len(others)))]
        items.append(replace(item, text=" ".join([*shots, item.text])))
    return items
