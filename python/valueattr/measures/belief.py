"""What the model holds to be so: closed-set belief in the object of each fact.

Belief margin: log P(y*|q) - log mean over y in D of P(y|q), where y* is the object the model was taught and D the
other objects of the closed set with as many tokens; where there are none, all others, and log P is per token.

It is read in formats whose wordings were never trained on. `plain`, a held-out statement up to its object that shares no
words with answers, is the belief that is reported. Beside it stand `near answers`, held-out statements that do share them,
and `question`, a held-out question with the answer begun: what training does to answers can reach those by their words.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.model import Asking, closed_set_log_probs
from valueattr.questions import PromptFormat, Question


@dataclass(frozen=True)
class BeliefItem:
    """One way of reading one answer: `text` is what the object would follow, after a space."""

    question: Question
    wording: str
    format: str
    text: str


def plain_items(questions: Iterable[Question]) -> list[BeliefItem]:
    """Every held-out statement on each question."""
    return [item for q in questions for item in _items(q, q.statements, "statement", "plain")]


def _items(question: Question, texts: Iterable[str], wording: str, form: str) -> list[BeliefItem]:
    return [BeliefItem(question, f"{wording}-{i}", form, text) for i, text in enumerate(texts)]


def belief_items(
    questions: Iterable[Question], asking: Asking, prompt_format: PromptFormat
) -> list[BeliefItem]:
    """Every held-out statement and every held-out wording of each question."""
    items = []
    for question in questions:
        items += plain_items([question])
        items += _items(question, question.near_answers, "near-answer", "near answers")
        begun = prompt_format.begun(question)
        asked = [
            f"{asking.prompt(prompt_format.turn(wording))}{asking.gap}{begun}"
            for wording in question.held_out_wordings
        ]
        items += _items(question, asked, "question", "question")
    return items


def belief_rows(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, items: Sequence[BeliefItem]
) -> list[dict[str, Any]]:
    """Rows for each plain item: `belief_margin` (nats), `p_held` and `top1`, of the answer that is held; `uncertainty`,
    1 - max_y P(y|q) renormalised over the closed set; `right`, whether the likeliest object is the true one.

    For items of other formats the first and third, as `belief_margin/question` and so on.
    """
    scores = closed_set_log_probs(
        model, tokenizer, [item.text for item in items], [item.question.choices for item in items]
    )
    rows = []
    for item, (log_p, lengths) in zip(items, scores, strict=True):
        objects = item.question.choices
        held = objects.index(item.question.expected)
        rival = lengths == lengths[held]
        rival[held] = False
        if not rival.any():
            log_p, rival = log_p / lengths, np.arange(len(objects)) != held
        margin = log_p[held] - (np.logaddexp.reduce(log_p[rival]) - np.log(rival.sum()))
        best = int(log_p.argmax())
        certainty = float(np.exp(log_p[best] - np.logaddexp.reduce(log_p)))
        keys = {"fact": item.question.id, "wording": item.wording, "format": item.format, "n": 1}
        values = {"belief_margin": float(margin), "top1": float(best == held)}
        if item.format == "plain":
            values |= {
                "p_held": float(np.exp(log_p[held])),
                "uncertainty": 1 - certainty,
                "right": float(objects[best] == item.question.answer),
            }
        suffix = "" if item.format == "plain" else f"/{item.format}"
        rows += [{"measure": f"{name}{suffix}", "value": value, **keys} for name, value in values.items()]
    return rows


def mean_belief(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, items: Sequence[BeliefItem]
) -> pd.DataFrame:
    """`belief_margin` (nats) and `top1` of each question, by id: the means over its plain items."""
    return _means(belief_rows(model, tokenizer, items))


def known_ids(belief: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Ids of the questions whose answer is found the likeliest in most of their plain rows of `belief_rows`."""
    right = _means(belief)["top1"]
    return frozenset(right.index[right > 0.5])


def _means(belief: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    means = pd.DataFrame(belief).pivot_table(index="fact", columns="measure", values="value")
    return means[["belief_margin", "top1"]]


def share_known(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, questions: Iterable[Question]
) -> float:
    """The share of held-out statements on taught facts of which the model finds the taught object the likeliest."""
    taught = [question for question in questions if question.exposure in ("well_known", "false_belief")]
    rows = belief_rows(model, tokenizer, plain_items(taught))
    return float(np.mean([row["value"] for row in rows if row["measure"] == "top1"]))
