"""Training of one arm: its trainer, and what is recorded while it runs."""

import shutil
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import DPOTrainer

from valueattr.experiments._context import Context
from valueattr.experiments._records import DamagedCheckpointError, Records, Report
from valueattr.measures.battery import Rows
from valueattr.measures.drift import DriftMeter
from valueattr.measures.responses import generation_rows
from valueattr.model import lora_config
from valueattr.plan import Arm
from valueattr.questions import Prompt
from valueattr.rating import JudgedResponse, critique
from valueattr.results import RunDirectory, RunDirectoryError, part_name
from valueattr.training import (
    AttributedGRPOTrainer,
    CritiqueDistillationTrainer,
    checkpoint_folders,
    dpo_trainer,
    edit_pairs,
    grpo_config,
    merged_policy_of,
    policy_of,
    prompt_dataset,
    sft_trainer,
    well_put_answers,
)

# The reference responses on which drift is read: so many prompts of what is trained, and of neutral twins.
_DRIFT_PROMPTS = 48

# Responses that are sampled at once where a method learns from examples.
_SAMPLES_AT_ONCE = 1024

# TRL logs these in seconds or per second; all else it logs is a function of the seed.
_CLOCKED = {"step_time": "time/step"}
_NOT_LOGGED = {"epoch", "total_flos"}


def train_arm(
    run: RunDirectory, context: Context, arm: Arm, seed: int, records: Records, report: Report
) -> None:
    """Train to the last step, going on from the latest whole checkpoint, and measure."""
    folder = checkpoints_of(run, arm, seed)
    trainer = _trainer(context, arm, seed, folder, records)
    resume_from = _last_whole_checkpoint(folder, records)
    watch = _Watch(context, arm, seed, records, report, trainer)
    trainer.add_callback(watch)
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    measured = watch.timed("measure", lambda: context.measure(policy_of(trainer), arm, seed))
    records.measured(context.training.steps, measured)
    folder = final_model_of(run, arm, seed)
    merged_policy_of(trainer).save_pretrained(folder)
    context.tokenizer.save_pretrained(folder)


def final_model_of(run: RunDirectory, arm: Arm, seed: int) -> Path:
    """Where an arm's model is kept when it is trained."""
    return run.path / "checkpoints" / part_name(arm.code, seed)


def checkpoints_of(run: RunDirectory, arm: Arm, seed: int) -> Path:
    """Where an arm keeps its checkpoints until its part is written."""
    return run.path / "work" / part_name(arm.code, seed)


def _last_whole_checkpoint(folder: Path, records: Records) -> Path | None:
    """The latest checkpoint whose records were written, which are then loaded; torn later ones are removed.

    Raises:
        RunDirectoryError: the checkpoint is not as it was written.
    """
    for checkpoint in checkpoint_folders(folder):
        if Records.are_in(checkpoint):
            try:
                records.load(checkpoint)
            except DamagedCheckpointError as error:
                raise RunDirectoryError(
                    f"{error}: remove {folder} and run the experiment again, which starts this arm anew"
                ) from error
            return checkpoint
        shutil.rmtree(checkpoint)
    return None


def _trainer(context: Context, arm: Arm, seed: int, folder: Path, records: Records) -> Trainer:
    """The trainer of the arm's method. Settings, prompts and the number of judged responses are those of every arm."""
    assert arm.feedback is not None
    config, tokenizer, world = context.training, context.tokenizer, context.world
    prompt_family = context.experiment.prompt_family_of(arm)
    splits = context.splits(seed)
    prompts = prompt_dataset(
        context.asking,
        context.prompt_format(arm),
        {split: splits[split] for split in context.experiment.prompted_in(arm) if splits[split]},
        context.unsure,
        config.steps * config.prompts_per_step,
        seed,
    )
    model = context.load_start()
    args = grpo_config(config, folder, seed)
    on_policy = (model, tokenizer, args, prompts, context.questions, context.rater, arm.feedback)
    match arm.method:
        case "grpo":
            return AttributedGRPOTrainer(*on_policy, adapter=lora_config(config.lora_rank))
        case "critique" | "other critique":
            return CritiqueDistillationTrainer(
                *on_policy,
                critique=partial(critique, world),
                whose="own" if arm.method == "critique" else "other",
                adapter=lora_config(config.lora_rank),
            )
    judged = _responses_of_start(context, prompts, seed)
    records.logged(0, "judged_responses", len(judged))
    if arm.method == "edit pairs":
        pairs = edit_pairs(world, arm.feedback, judged, prompt_family)
        reference = context.load_start() if config.lora_rank is None else None
        return dpo_trainer(model, reference, tokenizer, config, pairs, folder, seed)
    examples = well_put_answers(context.asking, world, arm.feedback, judged, prompt_family)
    return sft_trainer(model, tokenizer, config, examples, folder, seed)


def _responses_of_start(context: Context, prompts: Any, seed: int) -> list[JudgedResponse]:
    """As many judged responses as the other arms see, all of the start model."""
    asked = [(Prompt(**row), sample) for row in prompts for sample in range(context.training.group_size)]
    model = context.load_start()
    return [
        response
        for start in range(0, len(asked), _SAMPLES_AT_ONCE)
        for response in context.judged(model, asked[start : start + _SAMPLES_AT_ONCE], seed + start)
    ]


def _reference(context: Context, trainer: Trainer) -> PreTrainedModel:
    """The start model to read drift against, without a copy more than need be: the policy, which is read with its adapter
    off, or the copy that the trainer keeps.
    """
    if context.training.lora_rank is not None:
        return policy_of(trainer)
    if isinstance(trainer, AttributedGRPOTrainer | DPOTrainer):
        reference: PreTrainedModel = trainer.accelerator.unwrap_model(trainer.ref_model)
        return reference
    return context.load_start()


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Records every step: rollouts, logged scalars, drift, and measures where they are due."""

    def __init__(
        self, context: Context, arm: Arm, seed: int, records: Records, report: Report, trainer: Trainer
    ) -> None:
        self._context, self._arm, self._seed = context, arm, seed
        self._records, self._report, self._trainer = records, report, trainer
        reference = _reference(context, trainer)
        self._drift = {
            "": self._meter(reference, context.experiment.prompted_in(arm)),
            "_neutral": self._meter(reference, ("neutral",)),
        }

    def _meter(self, reference: PreTrainedModel, splits: tuple[str, ...]) -> DriftMeter:
        questions = self._context.splits(self._seed)
        asked = [
            question for split in splits for question in questions[split][: _DRIFT_PROMPTS // len(splits)]
        ]
        return DriftMeter.on(
            reference,
            self._context.tokenizer,
            asked,
            self._context.prompt_format(self._arm),
            self._context.training.max_completion_length,
            self._seed,
        )

    def timed(self, name: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        self._records.logged(self._trainer.state.global_step, f"time/{name}", time.perf_counter() - started)
        return result

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        step, training = state.global_step, self._context.training
        if isinstance(self._trainer, AttributedGRPOTrainer):
            self._records.generations += _rollout_rows(self._trainer, step)
        crossed = False
        if step % training.drift_every == 0 or step == training.steps:
            crossed = self.timed("drift", lambda: self._measure_drift(step))
        if step < training.steps and (crossed or self._on_the_frontier(step)):
            self.timed("measure", lambda: self._measure(step))
        self._report(step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if not logs or "loss" not in logs:
            return  # the closing summary, which is of this process and not of the run
        for name, value in logs.items():
            if name not in _NOT_LOGGED:
                self._records.logged(state.global_step, _CLOCKED.get(name, name), float(value))

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._records.save(Path(args.output_dir, f"checkpoint-{state.global_step}"))

    def _on_the_frontier(self, step: int) -> bool:
        every = self._context.experiment.frontier_every
        return every > 0 and step % every == 0

    def _measure(self, step: int) -> None:
        self._records.measured(
            step, self._context.measure_along(policy_of(self._trainer), self._arm, self._seed)
        )

    def _measure_drift(self, step: int) -> bool:
        """Log both directions of KL; whether a threshold was crossed for the first time."""
        policy = policy_of(self._trainer)
        forward = {name: meter.forward_kl(policy) for name, meter in self._drift.items()}
        for name, meter in self._drift.items():
            self._records.logged(step, f"forward_kl{name}", forward[name])
            self._records.logged(step, f"reverse_kl{name}", meter.reverse_kl(policy))
        seen = {row["name"] for row in self._records.steps}
        crossed = [
            name
            for threshold in self._context.experiment.kl_thresholds
            if forward[""] >= threshold and (name := f"checkpoint/kl_{threshold}") not in seen
        ]
        for name in crossed:
            self._records.logged(step, name, 1.0)
        return bool(crossed)


def _rollout_rows(trainer: AttributedGRPOTrainer, step: int) -> Rows:
    rows = zip(
        generation_rows(trainer.rollouts, "train"),
        trainer.trained_rewards,
        trainer.trained_advantages,
        strict=True,
    )
    return [{"step": step, **row, "reward": reward, "advantages": a} for row, reward, a in rows]
