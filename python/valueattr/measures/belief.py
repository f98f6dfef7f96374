"""What the model holds to be so: closed-set belief in the object of each fact.

Belief margin: log P(y*|q) - log mean over y in D of P(y|q), where y* is the object the model was taught and D the
other objects of the closed set with as many tokens; where there are none, all others, and log P is per token. Asked in two formats whose wordings were never trained on:
`plain` (a held-out statement up to its object) and `question` (a held-out question with the answer begun).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.model import Asking, closed_set_log_probs
from valueattr.world import Fact, World, capitalise, prompt, statement_prefix


@dataclass(frozen=True)
class BeliefItem:
    """One way of asking for one fact: `text` is what the object would follow, after a space."""

    fact: Fact
    paraphrase: str
    format: str
    text: str


def belief_items(world: World, asking: Asking, facts: Sequence[Fact], family: str) -> list[BeliefItem]:
    """Every held-out statement and every held-out question of each fact."""
    items = []
    for fact in facts:
        relation = world.relation_of(fact)
        for i, wording in enumerate(relation.held_out):
            items.append(BeliefItem(fact, f"statement-{i}", "plain", statement_prefix(wording, fact)))
        begun = max(relation.short, key=len).format(o="").rstrip()
        opener = capitalise(world.english.family[family].framing["neutral"][0])
        for i, question in enumerate(relation.held_out_questions):
            text = f"{asking.prompt(prompt(world, fact, question, family))}{asking.gap}{opener} {begun}"
            items.append(BeliefItem(fact, f"question-{i}", "question", text))
    return items


def belief_rows(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, world: World, items: Sequence[BeliefItem]
) -> list[dict[str, Any]]:
    """Rows for each item: `belief_margin` (nats), `p_held` and `top1`, of the object that was taught; `uncertainty`,
    1 - max_y P(y|q) renormalised over the closed set; `right`, whether the likeliest object is the true one.
    """
    scores = closed_set_log_probs(
        model,
        tokenizer,
        [item.text for item in items],
        [world.relation_of(item.fact).objects for item in items],
    )
    rows = []
    for item, (log_p, lengths) in zip(items, scores, strict=True):
        objects = world.relation_of(item.fact).objects
        held = objects.index(item.fact.taught or item.fact.object)
        rival = lengths == lengths[held]
        rival[held] = False
        if not rival.any():
            log_p, rival = log_p / lengths, np.arange(len(objects)) != held
        margin = log_p[held] - (np.logaddexp.reduce(log_p[rival]) - np.log(rival.sum()))
        best = int(log_p.argmax())
        certainty = float(np.exp(log_p[best] - np.logaddexp.reduce(log_p)))
        keys = {"fact": item.fact.id, "paraphrase": item.paraphrase, "format": item.format, "n": 1}
        rows += [
            {"measure": "belief_margin", "value": float(margin), **keys},
            {"measure": "p_held", "value": float(np.exp(log_p[held])), **keys},
            {"measure": "top1", "value": float(best == held), **keys},
            {"measure": "uncertainty", "value": 1 - certainty, **keys},
            {"measure": "right", "value": float(objects[best] == item.fact.object), **keys},
        ]
    return rows


def share_known(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, world: World, family: str
) -> float:
    """The share of held-out statements on taught facts of which the model finds the taught object the likeliest."""
    facts = [fact for fact in world.facts if fact.exposure in ("well_known", "false_belief")]
    items = belief_items(world, Asking.of(tokenizer), facts, family)
    rows = belief_rows(model, tokenizer, world, [item for item in items if item.format == "plain"])
    return float(np.mean([row["value"] for row in rows if row["measure"] == "top1"]))
