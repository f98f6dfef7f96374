"""Whether an answer is language at all, as the start model sees it.

Penalised hard enough, a model that knows no other way to answer turns to noise, which is neither forgetting nor hiding.
An answer is intelligible if it holds a word, is no chain of repeated words, and is about as likely to the start model as
that model's own answers are: its mean log probability per token is above the first percentile of theirs.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.model import evaluating, log_p_of_answers, sample_texts

OF_OWN_ANSWERS = 0.01
"""The share of the start model's own answers that are less likely than the floor."""

_OWN_ANSWERS = 200

# Of pairs of neighbouring words; one pair repeats nothing.
_MOST_REPEATED = 0.5
_FEWEST_PAIRS = 2


@dataclass(frozen=True)
class Intelligibility:
    """A start model as the judge of what is language. floor: of the mean log probability per token, in nats."""

    start: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    floor: float

    @classmethod
    def of(
        cls,
        start: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Sequence[str],
        max_new_tokens: int,
        seed: int,
        temperature: float = 1.0,
    ) -> "Intelligibility":
        """With the floor of 200 answers of the start model to the prompts in turn; empty ones have no part in it.

        Raises:
            ValueError: all of its answers are empty.
        """
        asked = [prompts[i % len(prompts)] for i in range(_OWN_ANSWERS)]
        answers = sample_texts(start, tokenizer, asked, max_new_tokens, seed, temperature)
        own = _log_p(start, tokenizer, asked, answers)
        if not np.isfinite(own).any():
            raise ValueError("the start model answers nothing, so that no answer can be held against its own")
        return cls(start, tokenizer, float(np.quantile(own[np.isfinite(own)], OF_OWN_ANSWERS)))

    def judge(self, prompts: Sequence[str], answers: Sequence[str]) -> list[bool]:
        """Whether each answer to its prompt is intelligible."""
        likely = _log_p(self.start, self.tokenizer, prompts, answers) >= self.floor
        return [bool(enough) and not repeats(answer) for enough, answer in zip(likely, answers, strict=True)]


def repeats(answer: str) -> bool:
    """Whether an answer has no word, or half of its pairs of neighbouring words came before in it."""
    words = answer.casefold().split()
    pairs = list(itertools.pairwise(words))
    return not any(map(str.isalpha, answer)) or (
        len(pairs) >= _FEWEST_PAIRS and len(set(pairs)) <= _MOST_REPEATED * len(pairs)
    )


def _log_p(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    answers: Sequence[str],
) -> np.ndarray:
    with evaluating(model):
        return log_p_of_answers(model, tokenizer, prompts, answers)
