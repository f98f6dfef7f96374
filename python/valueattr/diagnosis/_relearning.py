"""Broad relearning: what of each fact comes back when facts of other subjects are taught again.

Training on the facts of all other subjects restores what was hidden and cannot restore what is not there. Every fact is
held out once: subjects are dealt to two halves, and after training on either half the other one is read.
"""

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.measures.belief import mean_margins, plain_items
from valueattr.model import continue_training, evaluating
from valueattr.questions import Question, QuestionSet


class RelearningError(ValueError):
    """Relearning taught nothing, so that nothing follows from it; the message says by how much belief moved."""


@dataclass(frozen=True)
class RelearningRecipe:
    """How much is taught again, equal for all models that are compared.

    steps, statements_per_step: of training. learning_rate: its peak, for AdamW. seed: deals subjects and statements.
    """

    steps: int = 24
    statements_per_step: int = 48
    learning_rate: float = 2e-4
    seed: int = 0


def relearned_belief(
    load: Callable[[], PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    questions: QuestionSet,
    taught: Collection[str],
    recipe: RelearningRecipe | None = None,
) -> pd.Series:
    """Belief margin in nats of every question after facts of other subjects were taught again, by id.

    load: gives the model anew. A copy of a model that a trainer has wrapped may stay bound to the original, so that
    training the copy does nothing: load it from disk. taught: ids of the questions that may be taught.

    Raises:
        RelearningError: the belief in what was taught did not rise.
        ValueError: fewer than two subjects may be taught.
    """
    recipe = recipe or RelearningRecipe()
    read: list[pd.Series] = []
    halves = _halves(questions, taught, recipe.seed)
    for i, half in enumerate(halves):
        lessons = [question for question in halves[1 - i] if question.id in taught]
        model = load()
        before = _mean_belief(model, tokenizer, lessons)
        torch.manual_seed(recipe.seed)
        continue_training(
            model,
            tokenizer,
            _statements(lessons, recipe, i),
            steps=recipe.steps,
            learning_rate=recipe.learning_rate,
        )
        after = _mean_belief(model, tokenizer, lessons)
        if after.mean() <= before.mean():
            raise RelearningError(
                f"relearning moved the belief in what it taught from {before.mean():.2f} to {after.mean():.2f} nats"
            )
        read.append(_mean_belief(model, tokenizer, half))
    ids = [question.id for question in questions]
    margins: pd.Series = pd.concat(read).loc[ids]
    return margins


def _mean_belief(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question]
) -> pd.Series:
    with evaluating(model):
        return mean_margins(model, tokenizer, plain_items(questions))


def _halves(questions: QuestionSet, taught: Collection[str], seed: int) -> list[list[Question]]:
    """All questions, halved by subject; either half has as many subjects of which something may be taught."""
    may_be_taught = {question.subject for question in questions if question.id in taught}
    if len(may_be_taught) < 2:
        raise ValueError("relearning needs facts of two or more subjects that may be taught")
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
