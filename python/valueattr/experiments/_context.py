"""What all arms of a run share: the world, the start model, and what is known of it; read-only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valueattr.hedging import HedgeScanner
from valueattr.hedging.prevalence import corrected_rows
from valueattr.measures.belief import belief_items, belief_rows
from valueattr.measures.calibration import UNSURE, calibration_rows, own_uncertainty
from valueattr.measures.representation import (
    FrozenProbes,
    ProbeSet,
    States,
    probe_rows,
    probe_set,
    read_states,
)
from valueattr.measures.responses import ScannedResponse, response_rows, scan_responses
from valueattr.measures.statements import (
    StatementProbes,
    Statements,
    fit_statement_probes,
    statement_rows,
    statement_states,
)
from valueattr.model import Asking, load_model, load_tokenizer, sample_texts
from valueattr.plan import Arm, Experiment, Preset
from valueattr.rating import Feedback, JudgedResponse, Rater, critique, review
from valueattr.training import RunPrompt, TrainingConfig
from valueattr.world import DISTANCE, POOLS, Fact, World, assign_pools, prompt

Rows = list[dict[str, Any]]
Pools = Mapping[str, Sequence[Fact]]

_BEST_OF = 8

# Along training, knowledge and framing are read where the feedback acts and on the neutral twins.
FRONTIER_SPLITS = ("penalised", "neutral")


@dataclass(frozen=True)
class Context:
    """The inputs of every arm of a run."""

    experiment: Experiment
    preset: Preset
    world: World
    start: Path
    statements: Statements | None = None

    @property
    def training(self) -> TrainingConfig:
        """The training settings, equal in every arm."""
        shared = TrainingConfig.model_fields.keys() & Preset.model_fields.keys()
        return TrainingConfig(**{name: getattr(self.preset, name) for name in shared})

    def load_start(self) -> PreTrainedModel:
        """A fresh copy of the start model, in float32."""
        return load_model(self.start)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The start model's tokenizer."""
        return load_tokenizer(self.start)

    @cached_property
    def asking(self) -> Asking:
        """How questions are put to the model."""
        return Asking.of(self.tokenizer)

    def pools(self, seed: int) -> Pools:
        """The pools of a seed."""
        return assign_pools(self.world, seed, self.preset.pool_size)

    @cached_property
    def unsure(self) -> frozenset[str]:
        """Facts on which the start model is unsure."""
        items = belief_items(self.world, self.asking, self.world.facts, self.experiment.prompt_family)
        rows = belief_rows(self.load_start(), self.tokenizer, self.world, items)
        u = own_uncertainty(rows)
        return frozenset(u.index[u >= UNSURE])

    @cached_property
    def probe_texts(self) -> ProbeSet:
        """The texts that are probed; the same for every arm and seed."""
        return probe_set(self.world, seed=0)

    @cached_property
    def start_states(self) -> States:
        """The start model's states on the probed texts."""
        return read_states(self.load_start(), self.tokenizer, self.probe_texts)

    @cached_property
    def frozen(self) -> FrozenProbes:
        """The start model's probes."""
        return FrozenProbes(self.probe_texts, self.start_states)

    @cached_property
    def _statement_probes(self) -> StatementProbes:
        """The start model's truth probes on the user's statements."""
        assert self.statements is not None
        states = statement_states(self.load_start(), self.tokenizer, self.statements)
        return fit_statement_probes(self.statements, states)

    def measure(self, model: PreTrainedModel, arm: Arm, seed: int) -> tuple[Rows, list[ScannedResponse]]:
        """Everything, on every pool: rows without arm, seed and step, and the responses."""
        pools = self.pools(seed)
        rows, scanned = self._measure(model, arm, seed, pools)
        rows += self._calibration(rows, scanned, pools)
        rows += corrected_rows(
            [(s.response.split, s.kinds, s.response.judgement.hedges) for s in scanned], DISTANCE, seed
        )
        if self.experiment.probed:
            rows += self.probe(model, seed)
        if self.statements is not None:
            rows += statement_rows(model, self.tokenizer, self.statements, self._statement_probes)
        return rows, scanned

    def measure_frontier(self, model: PreTrainedModel, arm: Arm, seed: int) -> Rows:
        """Belief and responses on a few pools, for a point along training."""
        pools = {split: facts for split, facts in self.pools(seed).items() if split in FRONTIER_SPLITS}
        return self._measure(model, arm, seed, pools)[0]

    def measure_belief(self, model: PreTrainedModel, arm: Arm, seed: int) -> Rows:
        """Belief on every pool, and the probes of an experiment that has them."""
        rows = self._belief(model, arm, self.pools(seed))
        return rows + self.probe(model, seed) if self.experiment.probed else rows

    def probe(self, model: PreTrainedModel, seed: int) -> Rows:
        """Rows of every probe."""
        return probe_rows(self.frozen, read_states(model, self.tokenizer, self.probe_texts), self.pools(seed))

    def _measure(
        self, model: PreTrainedModel, arm: Arm, seed: int, pools: Pools
    ) -> tuple[Rows, list[ScannedResponse]]:
        was_training = model.training
        model.eval()
        rows = self._belief(model, arm, pools)
        judged = self._respond(model, arm, seed, pools)
        scanned = scan_responses(HedgeScanner(threads=1), self.world, judged)
        model.train(was_training)
        return rows + response_rows(self.world, scanned), scanned

    def _belief(self, model: PreTrainedModel, arm: Arm, pools: Pools) -> Rows:
        split_of = {fact.id: split for split, facts in pools.items() for fact in facts}
        facts = [fact for split in POOLS for fact in pools.get(split, ())]
        items = belief_items(self.world, self.asking, facts, self.experiment.family_of(arm))
        rows = belief_rows(model, self.tokenizer, self.world, items)
        return [{"split": split_of[row["fact"]], **row} for row in rows]

    def _calibration(self, rows: Rows, scanned: Sequence[ScannedResponse], pools: Pools) -> Rows:
        topic, other_topic = (pools[split][0].kind for split in ("penalised", "held_out"))
        of_kind = {
            kind: frozenset(f.id for f in self.world.facts if f.kind == kind) for kind in (topic, other_topic)
        }
        never_taught = frozenset(fact.id for fact in pools["never_taught"])
        return calibration_rows(
            rows, scanned, never_taught, of_kind[topic], of_kind[topic] | of_kind[other_topic]
        )

    def _respond(self, model: PreTrainedModel, arm: Arm, seed: int, pools: Pools) -> list[JudgedResponse]:
        family = self.experiment.family_of(arm)
        asked = []
        for split, facts in pools.items():
            for fact in facts:
                questions = self.world.relation_of(fact).questions
                for sample in range(self.preset.samples_per_fact):
                    form = sample % len(questions)
                    text = self.asking.prompt(prompt(self.world, fact, questions[form], family))
                    asked.append(
                        (RunPrompt(text, fact.id, split, f"asked-{form}", fact.id in self.unsure), sample)
                    )
        if arm.method == "best of n":
            assert arm.feedback is not None
            return self._best_of(model, arm.feedback, asked, seed)
        return self.judged(model, asked, seed)

    def _best_of(
        self, model: PreTrainedModel, feedback: Feedback, asked: Sequence[tuple[RunPrompt, int]], seed: int
    ) -> list[JudgedResponse]:
        """Of several responses to each prompt the first that the rater likes best."""
        tries = [self.judged(model, asked, 1000 * seed + i) for i in range(_BEST_OF)]
        return [
            max(responses, key=lambda response: sum(feedback.rewards(response)))
            for responses in zip(*tries, strict=True)
        ]

    def judged(
        self, model: PreTrainedModel, asked: Sequence[tuple[RunPrompt, int]], seed: int
    ) -> list[JudgedResponse]:
        """One judged response of a model to each prompt; `asked` holds prompts and the number of the sample."""
        prompts = [asking.prompt for asking, _ in asked]
        answers = sample_texts(model, self.tokenizer, prompts, self.training.max_completion_length, seed)
        rater = Rater(self.world)
        return [
            JudgedResponse(
                asking.fact,
                asking.pool,
                asking.paraphrase,
                sample,
                asking.prompt,
                answer,
                rater.judge(self.world.fact(asking.fact), answer),
                asking.unsure,
            )
            for (asking, sample), answer in zip(asked, answers, strict=True)
        ]

    def critique_gate(self, seed: int) -> float:
        """How far the start model follows a critique: P(considerate | critique) - P(considerate), on penalised facts."""
        arm = Arm("gate", "", None)
        model = self.load_start()
        first = self._respond(model, arm, seed, {"penalised": self.pools(seed)["penalised"]})
        criticised = [r for r in first if critique(self.world, r.judgement)]
        if not criticised:
            return 0.0
        asked = [
            (
                RunPrompt(
                    review(r.prompt, r.response, critique(self.world, r.judgement) or ""),
                    r.fact,
                    r.split,
                    r.paraphrase,
                    r.unsure,
                ),
                r.sample,
            )
            for r in criticised
        ]
        revised = self.judged(model, asked, seed)
        return _considerate(revised) - _considerate(first)


def _considerate(responses: Sequence[JudgedResponse]) -> float:
    return sum(r.judgement.framing == "considerate" for r in responses) / len(responses)
