"""The prompts of a run: the same for every arm, in the same order."""

import random
from collections.abc import Collection
from dataclasses import asdict
from itertools import cycle

from datasets import Dataset

from valueattr.model import Asking
from valueattr.questions import Prompt, PromptFormat, Question, Splits


def prompt_dataset(
    asking: Asking,
    prompt_format: PromptFormat,
    splits: Splits,
    unsure: Collection[str],
    prompts: int,
    seed: int,
) -> Dataset:
    """Rows in the order of training, which ask for each of the splits in turn; columns as in `Prompt`.

    Within a split each question comes up once before any comes up again. `unsure`: ids of the questions on which the
    start model is unsure.
    """
    rng = random.Random(f"prompts {seed}")
    decks: dict[str, list[Question]] = {split: [] for split in splits}
    rows = []
    for _, split in zip(range(prompts), cycle(splits), strict=False):
        if not decks[split]:
            decks[split] = rng.sample(list(splits[split]), len(splits[split]))
        question = decks[split].pop()
        form = rng.randrange(len(question.wordings))
        text = asking.prompt(prompt_format.turn(question.wordings[form]))
        rows.append(asdict(Prompt(text, question.id, split, f"asked-{form}", question.id in unsure)))
    return Dataset.from_list(rows)
