"""Whether a model still holds each fact, whatever it says: three readings a fact."""

import random
from collections.abc import Callable, Collection
from dataclasses import replace

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.diagnosis._relearning import RelearningRecipe, relearned_belief
from valueattr.measures.belief import BeliefItem, mean_margins, plain_items
from valueattr.measures.representation import held_log_odds
from valueattr.model import evaluating
from valueattr.questions import Question, QuestionSet

EVIDENCE = ("few_shot", "probe", "relearned")
"""The readings: columns of `evidence`."""

_SHOTS = 3


def evidence(
    load: Callable[[], PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    questions: QuestionSet,
    taught: Collection[str],
    recipe: RelearningRecipe | None = None,
) -> pd.DataFrame:
    """A row per question, by id, in nats: `belief` and the three readings of what stands behind it.

    few_shot: belief margin behind three facts of other subjects. probe: log-odds of the answer by a probe of the last
    layer that was fitted on other subjects of this model. relearned: belief margin after facts of other subjects were
    taught again.

    load: gives the model anew, from disk. taught: ids of what the model once held, which shots and lessons are drawn from.

    Raises:
        RelearningError: relearning taught nothing.
    """
    model = load()
    with evaluating(model):
        columns = {
            "belief": mean_margins(model, tokenizer, plain_items(questions)),
            "few_shot": mean_margins(model, tokenizer, _few_shot_items(questions, taught)),
            "probe": held_log_odds(model, tokenizer, questions),
        }
    columns["relearned"] = relearned_belief(load, tokenizer, questions, taught, recipe)
    return pd.DataFrame(columns).loc[[question.id for question in questions]]


def _few_shot_items(questions: QuestionSet, taught: Collection[str]) -> list[BeliefItem]:
    """Shots are of the same relation, so that they show what is asked for."""
    of_relation: dict[str, list[Question]] = {}
    for question in questions:
        if question.id in taught:
            of_relation.setdefault(question.relation, []).append(question)
    items = []
    for item in plain_items(questions):
        rng = random.Random(f"shots {item.question.id} {item.wording}")
        others = [q for q in of_relation[item.question.relation] if q.subject != item.question.subject]
        shots = [rng.choice(q.taught_as) for q in rng.sample(others, min(_SHOTS, len(others)))]
        items.append(replace(item, text=" ".join([*shots, item.text])))
    return items
