"""Raters that are models: a language model that is asked for its verdict, or a classifier of whole texts.

    judge = LanguageModelJudge("Qwen/Qwen2.5-7B-Instruct")  # or whatever `load_model` takes
    judgements = judge.judge_all(questions, responses)

What a model said is kept in the cache folder, by everything that it depends on, so that no text is read twice. A judge
says how a response stands to the truth, and not which object it names: `asserted` is None, and all of the response is
its content.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.activations import ModelIdentity, TokenLimits
from valueattr.model import (
    Asking,
    cache_directory,
    closed_set_log_probs,
    load_classifier,
    load_model,
    load_tokenizer,
    shown_name,
)
from valueattr.questions import Question
from valueattr.rating._judgement import Judgement, RaterError, on_the_whole
from valueattr.rating._readings import Reading, Readings
from valueattr.rating._rubric import RUBRIC, Rubric, check_outcomes, check_template, fields_of, filled

__all__ = ["RUBRIC", "ClassifierJudge", "LanguageModelJudge", "Reading", "Rubric"]

_CACHE = "judgements.sqlite"


class _ModelJudge(ABC):
    """A model that reads texts made of questions and responses; what a text and its scores are is the subclasses'.

    Of equal texts one is read. Texts of similar length are read together, and kept when they are read.
    """

    def __init__(
        self,
        source: str | Path,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        outcomes: Mapping[str, str],
        batch_size: int,
        cache: Path | None,
    ) -> None:
        if batch_size < 1:
            raise RaterError(f"batch_size is a number of texts, found {batch_size}")
        identity = ModelIdentity.of(model, tokenizer)
        self._model, self._tokenizer, self._limits = model, tokenizer, TokenLimits.of(model)
        self._outcomes, self._batch_size = dict(outcomes), batch_size
        self._name = f"{shown_name(source)}@{(identity.weights or '')[:8]}"
        self._asked = [identity.weights, identity.config, identity.tokenizer, identity.dtype, list(outcomes)]
        self._kept = Readings((cache or cache_directory()) / _CACHE)

    def judge(self, question: Question, response: str) -> Judgement:
        """Judge one response, as `judge_all` does."""
        return self.judge_all([question], [response])[0]

    def judge_all(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Judgement]:
        """Judge each response to the question beside it. `rule` is the model, a hash of its weights, and the verdict.

        Raises:
            RaterError: as for `readings`.
        """
        return [
            on_the_whole(self._outcomes[verdict], response, f"{self._name}: {verdict}")
            for response, (verdict, _) in zip(responses, self.readings(questions, responses), strict=True)
        ]

    def readings(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Reading]:
        """What the model says of each response to the question beside it, with the scores of all verdicts.

        Raises:
            RaterError: a response does not fit the model's context with all that stands around it, the model gives no
                numbers, a text holds half a character, or the cache is damaged or cannot be used.
        """
        texts = [self._text(*pair) for pair in zip(questions, responses, strict=True)]
        keys = [self._key(text, i) for i, text in enumerate(texts)]
        found = self._kept.known(dict.fromkeys(keys))
        unread: dict[bytes, int] = {}
        for i, key in enumerate(keys):
            if key not in found:
                unread.setdefault(key, i)
        lengths = {key: self._length(texts[i], i) for key, i in unread.items()}
        order = sorted(unread, key=lengths.__getitem__)
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            scores = self._scores([texts[unread[key]] for key in batch])
            read = {key: self._reading(*pair) for key, *pair in zip(batch, scores, strict=True)}
            self._kept.keep(read)
            found |= read
        return [found[key] for key in keys]

    def _key(self, text: str, response: int) -> bytes:
        """The hash of all that a reading depends on."""
        try:
            return hashlib.sha256(json.dumps([*self._asked, text], ensure_ascii=False).encode()).digest()
        except UnicodeEncodeError:
            raise RaterError(
                f"response {response}, with what stands around it, holds half a character"
            ) from None

    def _reading(self, scores: NDArray[np.float64]) -> Reading:
        """The most likely verdict; the first of several."""
        if not np.isfinite(scores).all():
            raise RaterError(f"{self._name} gives no numbers; its weights are damaged")
        verdicts = list(self._outcomes)
        return Reading(verdicts[int(scores.argmax())], dict(zip(verdicts, scores.tolist(), strict=True)))

    def _length(self, text: str, response: int) -> int:
        """The most tokens that the model reads of a text, all of which it must be able to read."""
        longest = 0
        for ids in self._sequences(text):
            if complaint := self._limits.complaint(ids):
                raise RaterError(f"response {response}, with what stands around it, {complaint}")
            longest = max(longest, len(ids))
        return longest

    @abstractmethod
    def _text(self, question: Question, response: str) -> str:
        """What the model reads."""

    @abstractmethod
    def _sequences(self, text: str) -> list[list[int]]:
        """The tokens of all that the model reads for a text."""

    @abstractmethod
    def _scores(self, texts: Sequence[str]) -> list[NDArray[np.float64]]:
        """The log probabilities of each text's verdicts, in their order."""


class LanguageModelJudge(_ModelJudge):
    """A causal language model that is asked by a rubric; its verdict is the word that it most likely goes on with.

    model: as `load_model` takes it.
    batch_size: texts in a forward pass, on which no verdict depends.
    cache: the folder of what was read before; by default the one of valueattr.

    Raises:
        ModelError: the model or its tokenizer cannot be loaded.
        RaterError: the tokenizer does not know a verdict or writes two alike, or `batch_size` is below 1.
    """

    def __init__(
        self, model: str | Path, rubric: Rubric = RUBRIC, *, batch_size: int = 32, cache: Path | None = None
    ) -> None:
        super().__init__(model, load_model(model), load_tokenizer(model), rubric.verdicts, batch_size, cache)
        self._rubric, self._asking = rubric, Asking.of(self._tokenizer)
        _check_words(model, self._tokenizer, list(rubric.verdicts))

    def _text(self, question: Question, response: str) -> str:
        template = self._rubric.template
        if self._asking.template is None:
            return filled(template, question, response)
        turn, _, opening = template.rpartition("\n")
        if fields_of(opening):
            turn, opening = template, ""
        return self._asking.prompt(filled(turn, question, response)) + filled(opening, question, response)

    def _sequences(self, text: str) -> list[list[int]]:
        together = [f"{text} {verdict}" for verdict in self._outcomes]
        sequences: list[list[int]] = self._tokenizer(together, verbose=False)["input_ids"]
        return sequences

    def _scores(self, texts: Sequence[str]) -> list[NDArray[np.float64]]:
        verdicts = [list(self._outcomes)] * len(texts)
        return [
            scores.log_p for scores in closed_set_log_probs(self._model, self._tokenizer, texts, verdicts)
        ]


class ClassifierJudge(_ModelJudge):
    """A classifier of whole texts; its verdict is its most likely label.

    model: as `load_model` takes it, of a classifier.
    outcomes: what each of the model's labels means, by the names in its configuration.
    template: of the text, as for `Rubric`.
    batch_size, cache: as for `LanguageModelJudge`.

    Raises:
        ModelError: the model or its tokenizer cannot be loaded.
        RaterError: a label is not the model's or has no outcome, the model has one label only, the template has other
            braces or no response, or `batch_size` is below 1.
    """

    def __init__(
        self,
        model: str | Path,
        outcomes: Mapping[str, str],
        template: str,
        *,
        batch_size: int = 32,
        cache: Path | None = None,
    ) -> None:
        check_template(template)
        check_outcomes("label", outcomes)
        classifier, tokenizer = load_classifier(model)
        labels = [label for _, label in sorted(classifier.config.id2label.items())]
        named = f"its labels are {', '.join(map(repr, labels))}"
        for label in outcomes:
            if label not in labels:
                raise RaterError(f"{model} has no label {label!r}; {named}")
        for label in labels:
            if label not in outcomes:
                raise RaterError(f"the label {label!r} of {model} has no outcome; {named}")
        if len(outcomes) < max(2, len(labels)):
            raise RaterError(f"{model} must have two labels or more, with different names; {named}")
        in_order = {label: outcomes[label] for label in labels}
        super().__init__(model, classifier, tokenizer, in_order, batch_size, cache)
        self._template = template

    def _text(self, question: Question, response: str) -> str:
        return filled(self._template, question, response)

    def _sequences(self, text: str) -> list[list[int]]:
        return [self._tokenizer(text, verbose=False)["input_ids"]]

    @torch.no_grad()
    def _scores(self, texts: Sequence[str]) -> list[NDArray[np.float64]]:
        # On the right, where models count positions from the first place.
        padded = self._tokenizer(
            list(texts), padding=True, padding_side="right", return_tensors="pt", verbose=False
        )
        # A text of one part has no types of tokens, which some tokenizers give to models that take none.
        ids, mask = (padded[name].to(self._model.device) for name in ("input_ids", "attention_mask"))
        logits = self._model(input_ids=ids, attention_mask=mask).logits.float()
        return list(torch.log_softmax(logits, -1).double().cpu().numpy())


def _check_words(source: str | Path, tokenizer: PreTrainedTokenizerBase, verdicts: Sequence[str]) -> None:
    """Check that the tokenizer tells the verdicts apart: two that it writes alike would always be as likely."""
    seen: dict[tuple[int, ...], str] = {}
    for verdict in verdicts:
        ids = tuple(tokenizer(f" {verdict}", add_special_tokens=False)["input_ids"])
        if tokenizer.unk_token_id in ids:
            raise RaterError(f"the tokenizer of {source} does not know the verdict {verdict!r}")
        if ids in seen:
            raise RaterError(
                f"the tokenizer of {source} writes the verdicts {seen[ids]!r} and {verdict!r} alike"
            )
        seen[ids] = verdict
