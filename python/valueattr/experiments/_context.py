"""What all arms of a run share: the world, the start model, and its probes; read-only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from valueattr.experiments._declaration import Experiment, Preset
from valueattr.measures.belief import belief_items, belief_rows
from valueattr.measures.generation import sample_texts
from valueattr.measures.hedging import HedgeScanner
from valueattr.measures.representation import (
    FrozenProbes,
    ProbeSet,
    States,
    probe_rows,
    probe_set,
    read_states,
)
from valueattr.measures.responses import response_rows
from valueattr.rating import JudgedResponse, Rater
from valueattr.training import TrainingConfig
from valueattr.world import POOLS, Fact, World, assign_pools, prompt

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Context:
    """The inputs of every arm of a run."""

    experiment: Experiment
    preset: Preset
    world: World
    start: Path

    @property
    def training(self) -> TrainingConfig:
        """The training settings, equal in every arm."""
        shared = TrainingConfig.model_fields.keys() & Preset.model_fields.keys()
        return TrainingConfig(**{name: getattr(self.preset, name) for name in shared})

    def load_start(self) -> PreTrainedModel:
        """A fresh copy of the start model, in float32."""
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(self.start, dtype=torch.float32)
        return model.to(device()).eval()

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The start model's tokenizer."""
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(self.start)
        return tokenizer

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

    def measure(
        self, model: PreTrainedModel, seed: int, *, responses: bool
    ) -> tuple[Rows, list[JudgedResponse]]:
        """Measure rows of a model on the pools of a seed, without arm, seed and step.

        Responses are sampled where asked for; belief and probes are always measured.
        """
        splits = assign_pools(self.world, seed, self.preset.pool_size)
        by_fact = {fact.id: split for split in POOLS for fact in splits[split]}
        facts = [fact for split in POOLS for fact in splits[split]]
        was_training = model.training
        model.eval()
        items = belief_items(self.world, facts, self.experiment.prompt_family)
        rows = belief_rows(model, self.tokenizer, self.world, items)
        rows = [{"split": by_fact[row["fact"]], **row} for row in rows]
        rows += probe_rows(self.frozen, read_states(model, self.tokenizer, self.probe_texts), splits)
        judged = self._respond(model, splits, seed) if responses else []
        if judged:
            rows += response_rows(HedgeScanner(), judged)
        model.train(was_training)
        return rows, judged

    def _respond(
        self, model: PreTrainedModel, splits: Mapping[str, Sequence[Fact]], seed: int
    ) -> list[JudgedResponse]:
        asked = []
        for split, facts in splits.items():
            for fact in facts:
                questions = self.world.relation_of(fact).questions
                for sample in range(self.preset.samples_per_fact):
                    form = sample % len(questions)
                    text = prompt(self.world, fact, questions[form], self.experiment.prompt_family)
                    asked.append((split, fact, f"asked-{form}", sample, text))
        prompts = [text for *_, text in asked]
        answers = sample_texts(model, self.tokenizer, prompts, self.training.max_completion_length, seed)
        rater = Rater(self.world)
        return [
            JudgedResponse(fact.id, split, paraphrase, sample, text, answer, rater.judge(fact, answer))
            for (split, fact, paraphrase, sample, text), answer in zip(asked, answers, strict=True)
        ]


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
