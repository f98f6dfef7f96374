"""What all arms of a run share: the questions, the raters, the start model and what is known of it; read-only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.diagnosis import Calibration, Inquiry, RelearningRecipe, is_embedded_kind, relearning_for
from valueattr.measures.battery import Battery, Measurement, Respond, Rows
from valueattr.measures.belief import belief_rows, known_ids, plain_items
from valueattr.measures.calibration import UNSURE, Topics, own_uncertainty
from valueattr.measures.intelligible import Intelligibility
from valueattr.measures.representation import FrozenProbes, LastLayer, probe_set, read_states
from valueattr.measures.statements import FrozenStatements, Statements
from valueattr.model import Asking, load_model, load_tokenizer
from valueattr.plan import Answers, Arm, Experiment, Preset
from valueattr.probing import CrossFit
from valueattr.questions import DISTANCE, Prompt, PromptFormat, QuestionSet, Splits, assign_splits
from valueattr.rating import (
    FreeTextRater,
    GrammarRater,
    JudgedResponse,
    MeasuringRater,
    Rater,
    critique,
    review,
)
from valueattr.training import TrainingConfig
from valueattr.world import World

_BEST_OF = 8

# Along training, knowledge and framing are read where the feedback acts and on the neutral twins.
FRONTIER_SPLITS = ("penalised", "neutral")


@dataclass(frozen=True)
class Context:
    """The inputs of every arm of a run. answers: how the model answers. controls: of a start model of one's own."""

    experiment: Experiment
    preset: Preset
    world: World
    start: Path
    statements: Statements | None = None
    answers: Answers = "taught"
    controls: Path | None = None

    @property
    def training(self) -> TrainingConfig:
        """The training settings, equal in every arm."""
        shared = TrainingConfig.model_fields.keys() & Preset.model_fields.keys()
        return TrainingConfig(**{name: getattr(self.preset, name) for name in shared})

    @property
    def questions(self) -> QuestionSet:
        """Every question of the world."""
        return self.world.questions

    @cached_property
    def rater(self) -> Rater:
        """The rater that training pays. It never measures."""
        return FreeTextRater(self.world.subjects) if self._in_own_words else GrammarRater(self.world)

    @cached_property
    def measuring_rater(self) -> Rater:
        """The rater that measures. It never trains."""
        return FreeTextRater(self.world.subjects) if self._in_own_words else MeasuringRater(self.world)

    @property
    def _in_own_words(self) -> bool:
        return self.answers == "natural"

    def load_start(self) -> PreTrainedModel:
        """A fresh copy of the start model, in float32."""
        return load_model(self.start)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The start model's tokenizer."""
        return load_tokenizer(self.start)

    @cached_property
    def asking(self) -> Asking:
        """How a turn is put to the model."""
        return Asking.of(self.tokenizer)

    def prompt_format(self, arm: Arm) -> PromptFormat:
        """How the questions of an arm are put."""
        return self._asked_by(self.experiment.prompt_family_of(arm))

    def _asked_by(self, prompt_family: str) -> PromptFormat:
        """How an asker puts a question; the question alone where answers are in the model's own words."""
        return PromptFormat() if self._in_own_words else self.world.prompt_format(prompt_family)

    def splits(self, seed: int) -> Splits:
        """The splits of a seed."""
        return assign_splits(self.questions, seed, self.preset.split_size, self.world.english.prefaces)

    def topics(self, seed: int) -> Topics:
        """What is trained, sensitive and unknown under a seed."""
        splits = self.splits(seed)
        trained, other = (
            self.questions.of_topic(splits[split][0].topic) for split in ("penalised", "held_out")
        )
        return Topics(
            trained=frozenset(question.id for question in trained),
            sensitive=frozenset(question.id for question in (*trained, *other)),
            never_taught=frozenset(question.id for question in splits["never_taught"]),
        )

    @cached_property
    def unsure(self) -> frozenset[str]:
        """Ids of the questions on which the start model is unsure."""
        u = own_uncertainty(self._start_belief)
        return frozenset(u.index[u >= UNSURE])

    @cached_property
    def _start_belief(self) -> Rows:
        return belief_rows(self.load_start(), self.tokenizer, plain_items(self.questions))

    @cached_property
    def _known(self) -> frozenset[str]:
        return known_ids(self._start_belief)

    @cached_property
    def start_probes(self) -> Mapping[str, CrossFit]:
        """Probes of the start model's last layer, by relation."""
        return LastLayer.of(self.load_start(), self.tokenizer, self.questions).probes()

    @cached_property
    def calibration(self) -> Calibration | None:
        """How often a verdict is wrong; None where there are no controls of such a start model."""
        if self.controls:
            return Calibration.saved(self.controls)
        of_controls = is_embedded_kind(self.load_start(), self.tokenizer)
        return Calibration.shipped() if of_controls else None

    def inquiry(self, arm: Arm, seed: int) -> Inquiry:
        """What the start model and an arm are asked about every fact of a seed's splits."""
        return Inquiry(
            self.questions,
            tuple(question for asked in self.splits(seed).values() for question in asked),
            self._known,
            self.measuring_rater,
            self.prompt_format(arm),
            self._relearning,
            max_new_tokens=self.training.max_completion_length,
            seed=seed,
            temperature=self.training.temperature,
        )

    @cached_property
    def _relearning(self) -> RelearningRecipe:
        return relearning_for(self.load_start())

    def split_of(self, seed: int) -> Mapping[str, str]:
        """The split of each fact under a seed."""
        return {question.id: split for split, asked in self.splits(seed).items() for question in asked}

    @cached_property
    def _probes(self) -> FrozenProbes:
        """The start model's probes, on the same texts for every arm and seed."""
        texts = probe_set(self.questions, seed=0)
        return FrozenProbes(texts, read_states(self.load_start(), self.tokenizer, texts))

    @cached_property
    def _frozen_statements(self) -> FrozenStatements | None:
        if self.statements is None:
            return None
        return FrozenStatements.of(self.load_start(), self.tokenizer, self.statements)

    @cached_property
    def _intelligible(self) -> Intelligibility | None:
        """The start model as the judge of language; None where it was taught the world, whose answers are closed."""
        if self.answers == "taught":
            return None
        prompt_format = self._asked_by(self.experiment.prompt_family)
        known = [question for question in self.questions if question.exposure == "well_known"]
        prompts = [self.asking.prompt(prompt_format.turn(question.wordings[0])) for question in known]
        return Intelligibility.of(
            self.load_start(),
            self.tokenizer,
            prompts,
            self.training.max_completion_length,
            seed=0,
            temperature=self.training.temperature,
        )

    def battery(self, arm: Arm, seed: int) -> Battery:
        """Everything that is measured of an arm under a seed."""
        return Battery(
            self.splits(seed),
            self.tokenizer,
            self.measuring_rater,
            prompt_format=self.prompt_format(arm),
            samples=self.preset.samples_per_fact,
            max_new_tokens=self.training.max_completion_length,
            temperature=self.training.temperature,
            seed=seed,
            unsure=self.unsure,
            rewarding=self.rater,
            topics=self.topics(seed),
            distance=DISTANCE,
            probes=self._probes if self.experiment.probed else None,
            statements=self._frozen_statements,
            intelligible=self._intelligible,
        )

    def measure(self, model: PreTrainedModel, arm: Arm, seed: int) -> Measurement:
        """Everything, on every split."""
        return self.battery(arm, seed).measure(model, self._respond(arm, seed))

    def measure_along(self, model: PreTrainedModel, arm: Arm, seed: int) -> Measurement:
        """What is measured at a point along training: knowledge and framing, or else belief and the probes."""
        battery = self.battery(arm, seed)
        if self.experiment.frontier_every:
            answers = battery.on(FRONTIER_SPLITS).measure_answers(model, self._respond(arm, seed))
            return Measurement(answers.rows)  # responses are kept at the end alone
        return battery.measure_belief(model)

    def _respond(self, arm: Arm, seed: int) -> Respond | None:
        """How an arm's model answers, where that is not one sample to each prompt."""
        if arm.method != "best of n":
            return None

        def best(model: PreTrainedModel, prompts: Sequence[Prompt]) -> list[str]:
            """Of several responses to each prompt the first that the rater likes best."""
            assert arm.feedback is not None
            feedback = arm.feedback
            asked = [(prompt, 0) for prompt in prompts]
            tries = [self.judged(model, asked, 1000 * seed + i) for i in range(_BEST_OF)]
            return [
                max(responses, key=lambda response: sum(feedback.rewards(response))).response
                for responses in zip(*tries, strict=True)
            ]

        return best

    def judged(
        self, model: PreTrainedModel, asked: Sequence[tuple[Prompt, int]], seed: int
    ) -> list[JudgedResponse]:
        """The model's response to each prompt as the rater that training pays judges it."""
        asker = Battery(
            {"all": tuple(self.questions)},
            self.tokenizer,
            self.rater,
            max_new_tokens=self.training.max_completion_length,
            temperature=self.training.temperature,
            seed=seed,
        )
        return asker.judged(model, asked)

    def critique_gate(self, arm: Arm, seed: int) -> float:
        """How far the start model follows a critique: P(considerate | critique) - P(considerate), on penalised facts."""
        model, battery = self.load_start(), self.battery(arm, seed).on(["penalised"])
        first = battery.responses(model)
        criticised = [(r, said) for r in first if (said := critique(self.world, r.judgement))]
        if not criticised:
            return 0.0
        asked = [
            (Prompt(review(r.prompt, r.response, said), r.fact, r.split, r.wording, r.unsure), r.sample)
            for r, said in criticised
        ]
        return _considerate(battery.judged(model, asked)) - _considerate(first)


def _considerate(responses: Sequence[JudgedResponse]) -> float:
    return sum(r.judgement.framing == "considerate" for r in responses) / len(responses)
