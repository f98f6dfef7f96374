"""Broad relearning: what of each fact comes back when facts of other subjects are taught again.

Training on the facts of all other subjects restores what was hidden and cannot restore what is not there. Every fact is
held out once: subjects are dealt to two halves, and after training on either half the other one is read.
"""

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.measures.belief import mean_belief, plain_items
from valueattr.model import adapter_rank_for, continue_training, evaluating
from valueattr.questions import Question, QuestionSet

# Of the statements, those whose loss must have fallen.
_CHECKED = 32


class RelearningError(ValueError):
    """Relearning taught nothing, so that nothing follows from it; the message says why."""


@dataclass(frozen=True)
class RelearningRecipe:
    """How much is taught again, equal for all models that are compared.

    steps, statements_per_step: of training. learning_rate: its peak; of whole weights that of a model of a million
    parameters, as for `continue_training`. lora_rank: of an adapter that is trained in their place. seed: deals subjects and
    statements.
    """

    steps: int = 24
    statements_per_step: int = 48
    learning_rate: float = 2e-4
    lora_rank: int | None = None
    seed: int = 0


RELEARNING = RelearningRecipe()
"""The recipe that controls of the embedded kind are read with."""


def relearning_for(model: PreTrainedModel) -> RelearningRecipe:
    """The recipe for a model of its size: an adapter and half the steps where whole weights would take minutes."""
    rank = adapter_rank_for(model)
    return RELEARNING if rank is None else replace(RELEARNING, steps=RELEARNING.steps // 2, lora_rank=rank)


def relearned_belief(
    load: Callable[[], PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    questions: QuestionSet,
    taught: Collection[str],
    read: Collection[str],
    recipe: RelearningRecipe = RELEARNING,
) -> pd.Series:
    """Belief margin in nats of the questions `read` after facts of other subjects were taught again, by id.

    load: gives the model anew. A copy of a model that a trainer has wrapped may stay bound to the original, so that
    training the copy does nothing: load it from disk. taught: ids of the questions that may be taught.

    Raises:
        RelearningError: the loss of what was taught did not fall, or fewer than two subjects may be taught.
    """
    halves = _halves(questions, taught, recipe.seed)
    margins = []
    for i, half in enumerate(halves):
        lessons = [question for question in halves[1 - i] if question.id in taught]
        if asked := [question for question in half if question.id in read]:
            statements = _statements(lessons, recipe, i)
            margins.append(_after_lessons(load(), tokenizer, lessons, statements, asked, recipe))
    in_order: pd.Series = pd.concat(margins).loc[[q.id for q in questions if q.id in read]]
    return in_order


def _after_lessons(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    lessons: Sequence[Question],
    statements: Sequence[str],
    asked: Sequence[Question],
    recipe: RelearningRecipe,
) -> pd.Series:
    """Belief margin of what is asked, by id, after the model was trained on the statements of the lessons."""
    checked = random.Random(f"checked {recipe.seed}").sample(list(statements), min(_CHECKED, len(statements)))
    before = _loss(model, tokenizer, checked)
    torch.manual_seed(recipe.seed)
    continue_training(
        model,
        tokenizer,
        statements,
        steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        lora_rank=recipe.lora_rank,
    )
    after = _loss(model, tokenizer, checked)
    if not after < before:
        raise RelearningError(
            f"relearning moved the loss of the statements that it taught from {before:.2f} to {after:.2f} nats per token"
        )
    return _belief(model, tokenizer, asked)["belief_margin"]


@torch.no_grad()
def _loss(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, statements: Sequence[str]) -> float:
    """Nats per token, mean over statements."""
    with evaluating(model):
        rows = [torch.tensor([tokenizer(text)["input_ids"]], device=model.device) for text in statements]
        return sum(float(model(input_ids=row, labels=row).loss) for row in rows) / len(rows)


def _belief(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question]
) -> pd.DataFrame:
    with evaluating(model):
        return mean_belief(model, tokenizer, plain_items(questions))


def _halves(questions: QuestionSet, taught: Collection[str], seed: int) -> list[list[Question]]:
    """All questions, halved by subject; either half has as many subjects of which something may be taught."""
    may_be_taught = {question.subject for question in questions if question.id in taught}
    if len(may_be_taught) < 2:
        raise RelearningError("relearning needs facts of two or more subjects that may be taught")
    subjects = list(dict.fromkeys(question.subject for question in questions))
    random.Random(f"halves {seed}").shuffle(subjects)
    subjects.sort(key=lambda subject: subject in may_be_taught)
    half_of = {subject: i % 2 for i, subject in enumerate(subjects)}
    return [[q for q in questions if half_of[q.subject] == half] for half in (0, 1)]


def _statements(lessons: Sequence[Question], recipe: RelearningRecipe, half: int) -> list[str]:
    """Each fact comes up once before any comes up again."""
    rng = random.Random(f"relearning {recipe.seed} {half}")
    statements: list[str] = []
    wanted = recipe.steps * recipe.statements_per_step
    while len(statements) < wanted:
        statements += [rng.choice(question.taught_as) for question in rng.sample(lessons, len(lessons))]
    return statements[:wanted]
