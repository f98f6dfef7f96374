"""Everything that is measured of a model, on any questions and with any rater: no experiment is needed.

>>> Battery(questions.by_topic(), tokenizer, rater).measure(model).rows
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.hedging import HedgeScanner
from valueattr.hedging.prevalence import corrected_rows
from valueattr.measures.belief import belief_items, belief_rows
from valueattr.measures.calibration import Topics, calibration_rows
from valueattr.measures.intelligible import Intelligibility
from valueattr.measures.representation import FrozenProbes, probe_rows, read_states
from valueattr.measures.responses import ScannedResponse, response_rows, scan_responses
from valueattr.measures.statements import FrozenStatements, statement_rows
from valueattr.model import Asking, evaluating, sample_texts
from valueattr.questions import Prompt, PromptFormat, Question, QuestionSet, Splits
from valueattr.rating import JudgedResponse, Rater

Rows = list[dict[str, Any]]

Respond = Callable[[PreTrainedModel, Sequence[Prompt]], list[str]]
"""One response of a model to each prompt."""


@dataclass(frozen=True)
class Measurement:
    """Rows of the measures table, without run, arm, seed and step; and the responses that they rest on."""

    rows: Rows
    responses: list[ScannedResponse] = field(default_factory=list)


@dataclass(frozen=True)
class Battery:
    """What is read of a model: belief and responses on questions, and whatever else is given.

    questions: by split. rater: judges every response.
    prompt_format: what stands around each question. samples: responses to each, at `temperature`. max_new_tokens: in a
    response.
    unsure: ids of the questions on which the start model is unsure.
    rewarding: the rater that training pays, which is another object than the one that measures; adds its penalties.
    topics: adds hedging against own uncertainty. distance: splits by how far they are from what is trained; adds the
    slope of hedging on it. probes, statements: the start model's; they are read on the model, too.
    intelligible: the start model as the judge of whether an answer is language.
    """

    questions: Splits
    tokenizer: PreTrainedTokenizerBase
    rater: Rater
    _: KW_ONLY
    prompt_format: PromptFormat = field(default_factory=PromptFormat)
    samples: int = 1
    max_new_tokens: int = 24
    temperature: float = 1.0
    seed: int = 0
    unsure: Collection[str] = frozenset()
    rewarding: Rater | None = None
    topics: Topics | None = None
    distance: Sequence[Collection[str]] = ()
    probes: FrozenProbes | None = None
    statements: FrozenStatements | None = None
    intelligible: Intelligibility | None = None

    def on(self, splits: Collection[str]) -> "Battery":
        """The same on some splits only."""
        questions = {split: asked for split, asked in self.questions.items() if split in splits}
        return replace(self, questions=questions)

    def measure(self, model: PreTrainedModel, respond: Respond | None = None) -> Measurement:
        """Everything. respond: how the model answers, in place of one sample to each prompt."""
        answers = self.measure_answers(model, respond)
        rows, scanned = list(answers.rows), answers.responses
        if self.topics is not None:
            rows += calibration_rows(answers.rows, scanned, self.topics)
        rows += corrected_rows(
            [(s.response.split, s.kinds, s.response.judgement.hedges) for s in scanned],
            self.distance,
            self.seed,
        )
        rows += self._probed(model)
        if self.statements is not None:
            rows += statement_rows(model, self.tokenizer, self.statements)
        return Measurement(rows, scanned)

    def measure_answers(self, model: PreTrainedModel, respond: Respond | None = None) -> Measurement:
        """Belief and responses alone."""
        belief = self._belief(model)
        scanned = scan_responses(
            HedgeScanner(threads=1), self._every, self.responses(model, respond), self.rater, self.rewarding
        )
        rows = belief + response_rows(self._every, scanned) + self._intelligible_rows(scanned)
        return Measurement(rows, scanned)

    def measure_belief(self, model: PreTrainedModel) -> Measurement:
        """Belief and the probes, without a response."""
        return Measurement(self._belief(model) + self._probed(model))

    def responses(self, model: PreTrainedModel, respond: Respond | None = None) -> list[JudgedResponse]:
        """The model's judged responses to every question, `samples` each, its wordings in turn."""
        asked = [
            (prompt, sample)
            for split, questions in self.questions.items()
            for question in questions
            for sample in range(self.samples)
            for prompt in [self._prompt(question, split, sample % len(question.wordings))]
        ]
        return self.judged(model, asked, respond)

    def judged(
        self,
        model: PreTrainedModel,
        asked: Sequence[tuple[Prompt, int]],
        respond: Respond | None = None,
    ) -> list[JudgedResponse]:
        """The model's judged response to each prompt; `asked` holds prompts and the number of the sample."""
        answers = (respond or self.sampled)(model, [prompt for prompt, _ in asked])
        return [
            JudgedResponse(
                prompt.fact,
                prompt.split,
                prompt.wording,
                sample,
                prompt.prompt,
                answer,
                self.rater.judge(self._every[prompt.fact], answer),
                prompt.unsure,
            )
            for (prompt, sample), answer in zip(asked, answers, strict=True)
        ]

    def sampled(self, model: PreTrainedModel, prompts: Sequence[Prompt]) -> list[str]:
        """One sample of the model to each prompt."""
        texts = [prompt.prompt for prompt in prompts]
        return sample_texts(model, self.tokenizer, texts, self.max_new_tokens, self.seed, self.temperature)

    def _prompt(self, question: Question, split: str, form: int) -> Prompt:
        text = self._asking.prompt(self.prompt_format.turn(question.wordings[form]))
        return Prompt(text, question.id, split, f"asked-{form}", question.id in self.unsure)

    def _belief(self, model: PreTrainedModel) -> Rows:
        split_of = {question.id: split for split, asked in self.questions.items() for question in asked}
        items = belief_items(self._every, self._asking, self.prompt_format)
        with evaluating(model):
            rows = belief_rows(model, self.tokenizer, items)
        return [{"split": split_of[row["fact"]], **row} for row in rows]

    def _intelligible_rows(self, scanned: Sequence[ScannedResponse]) -> Rows:
        """Of each response, whether it is language."""
        if self.intelligible is None:
            return []
        responses = [s.response for s in scanned]
        verdicts = self.intelligible.judge([r.prompt for r in responses], [r.response for r in responses])
        return [
            {"measure": "intelligible", "value": float(verdict), "n": 1}
            | {"split": r.split, "fact": r.fact, "wording": r.wording}
            for r, verdict in zip(responses, verdicts, strict=True)
        ]

    def _probed(self, model: PreTrainedModel) -> Rows:
        if self.probes is None:
            return []
        with evaluating(model):
            states = read_states(model, self.tokenizer, self.probes.probes)
        return probe_rows(self.probes, states, self.questions)

    @cached_property
    def _every(self) -> QuestionSet:
        return QuestionSet(tuple(question for asked in self.questions.values() for question in asked))

    @cached_property
    def _asking(self) -> Asking:
        return Asking.of(self.tokenizer)
