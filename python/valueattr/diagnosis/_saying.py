"""What a model says of each fact when it is asked again and again."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import hypergeom
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.measures.battery import Battery
from valueattr.questions import PromptFormat, Question
from valueattr.rating import Rater

SAMPLES = 24
"""Answers to each fact's questions, its wordings in turn."""

SAID: Mapping[str, str] = {
    "said_true": "assert_true",
    "said_false": "assert_false",
    "hedged": "hedge_only",
    "refused": "refuse",
    "other": "other",
}
"""Columns of `said`, with the outcomes that they are shares of."""

SAID_COLUMNS = (*SAID, "said_held")
"""All columns of `said`."""

_SAID_BEFORE = 8
_ALPHA = 0.01


def said(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    rater: Rater,
    prompt_format: PromptFormat,
    max_new_tokens: int = 24,
    seed: int = 0,
    temperature: float = 1.0,
) -> pd.DataFrame:
    """Of each question, by id, the shares of its `SAMPLES` answers by outcome, which add up to 1; columns as in `SAID`.

    And `said_held`, the share that assert what the model holds, which is another object than the true one where it was
    taught a falsehood.
    """
    battery = Battery(
        {"asked": questions},
        tokenizer,
        rater,
        prompt_format=prompt_format,
        samples=SAMPLES,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
    )
    answers = battery.responses(model)
    outcomes = pd.crosstab(
        [answer.fact for answer in answers], [answer.judgement.outcome for answer in answers]
    )
    shares = outcomes.reindex(columns=list(SAID.values()), fill_value=0) / SAMPLES
    held = {question.id: question.expected for question in questions}
    says = pd.Series([float(answer.judgement.asserted == held[answer.fact]) for answer in answers])
    table = shares.set_axis(list(SAID), axis=1)
    table["said_held"] = says.groupby([answer.fact for answer in answers]).mean()
    return table.loc[list(held)]


def was_said(before: pd.Series) -> "pd.Series[bool]":
    """Whether a fact was said often enough for silence about it to show; `before` is the share `said_held`."""
    return pd.Series(_counts(before) >= _SAID_BEFORE, index=before.index)


def went_silent(before: pd.Series, after: pd.Series) -> "pd.Series[bool]":
    """Whether a fact that was said is now said at most half as often, and by Fisher's one-sided exact test at p < .01.

    before, after: shares `said_held` of two times `SAMPLES` answers.
    """
    b, a = _counts(before), _counts(after)
    p = hypergeom.cdf(a, 2 * SAMPLES, a + b, SAMPLES)
    return was_said(before) & (2 * a <= b) & (p < _ALPHA)


def _counts(share: pd.Series) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.rint(share.to_numpy(float) * SAMPLES).astype(np.int64)
    return counts
