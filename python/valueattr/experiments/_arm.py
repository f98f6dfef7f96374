"""One arm and seed, from the start model to its part of the tables; resumable from the last checkpoint."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import (
    PreTrainedModel,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from valueattr.experiments._context import Context, Rows
from valueattr.experiments._declaration import Arm
from valueattr.measures.drift import DriftMeter
from valueattr.measures.responses import generation_rows
from valueattr.rating import JudgedResponse
from valueattr.results import FACTS, GENERATIONS, MEASURES, STEPS, RunDirectory, as_table, write_atomically
from valueattr.training import AttributedGRPOTrainer, checkpoint_folders, grpo_config, prompt_dataset
from valueattr.world import IN_RUN, POOLS, assign_pools, prompt

# The reference responses on which drift is read: per pool of the run, this many prompts.
_DRIFT_PROMPTS_PER_POOL = 12

# TRL logs these in seconds or per second; all else it logs is a function of the seed.
_CLOCKED = {"step_time": "time/step"}
_NOT_LOGGED = {"epoch", "total_flos"}

Report = Callable[[int], None]
"""Called with the step that has just ended."""


def part_name(arm: str, seed: int) -> str:
    """The name of an arm's part in the run directory."""
    return f"{arm}-s{seed}"


def run_arm(run: RunDirectory, context: Context, arm: Arm, seed: int, report: Report) -> None:
    """Train and measure one arm under one seed and leave its part in the run directory."""
    records = Records()
    started = time.perf_counter()
    if arm.feedback is None:
        rows, judged = context.measure(context.load_start(), seed, responses=True)
        records.measured(0, rows, judged)
    else:
        _train(run, context, arm, seed, records, report)
    records.steps.append({"step": 0, "name": "time/arm", "value": time.perf_counter() - started})
    run.write_part(part_name(arm.code, seed), records.tables(context, arm.code, seed))


def _train(
    run: RunDirectory, context: Context, arm: Arm, seed: int, records: "Records", report: Report
) -> None:
    assert arm.feedback is not None
    folder = run.path / "work" / part_name(arm.code, seed)
    resume_from = _last_whole_checkpoint(folder, records)
    config = context.training
    pools = assign_pools(context.world, seed, context.preset.pool_size)
    prompts = prompt_dataset(
        context.world, pools, context.experiment.prompt_family, config.steps, config.prompts_per_step, seed
    )
    watch = _Watch(context, seed, records, report)
    trainer = AttributedGRPOTrainer(
        context.load_start(),
        context.tokenizer,
        grpo_config(config, folder, seed),
        prompts,
        context.world,
        arm.feedback,
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)
    watch.attach(trainer)
    trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    policy = trainer.accelerator.unwrap_model(trainer.model)
    rows, judged = watch.timed("measure", lambda: context.measure(policy, seed, responses=True))
    records.replace_measured(config.steps, rows, judged)
    final = run.path / "checkpoints" / part_name(arm.code, seed)
    policy.save_pretrained(final)
    context.tokenizer.save_pretrained(final)
    shutil.rmtree(folder)


def _last_whole_checkpoint(folder: Path, records: "Records") -> Path | None:
    """The latest checkpoint whose records were written, which are then loaded; torn later ones are removed."""
    for checkpoint in checkpoint_folders(folder):
        if (checkpoint / "records.json").is_file():
            records.load(checkpoint / "records.json")
            return checkpoint
        shutil.rmtree(checkpoint)
    return None


class Records:
    """Rows gathered so far; saved beside each checkpoint so that a resumed arm ends with the same tables."""

    def __init__(self) -> None:
        self.steps: Rows = []
        self.generations: Rows = []
        self.measures: Rows = []

    def measured(self, step: int, rows: Rows, judged: list[JudgedResponse]) -> None:
        """Add the rows of one measurement."""
        self.measures += [{"step": step, **row} for row in rows]
        self.generations += [{"step": step, **row} for row in generation_rows(judged, "evaluation")]

    def replace_measured(self, step: int, rows: Rows, judged: list[JudgedResponse]) -> None:
        """Add the rows of a measurement in place of an earlier one at the same step."""
        self.measures = [row for row in self.measures if row["step"] != step]
        self.measured(step, rows, judged)

    def save(self, path: Path) -> None:
        """Write all rows as JSON."""
        write_atomically(path, lambda p: _write_json(p, vars(self)))

    def load(self, path: Path) -> None:
        """Take the rows of an earlier process."""
        for name, rows in json.loads(path.read_text("utf-8")).items():
            setattr(self, name, rows)

    def tables(self, context: Context, arm: str, seed: int) -> Mapping[str, Any]:
        """The arm's part of every table."""
        keys = {"arm": arm, "seed": seed}
        tables = {
            "measures": as_table(
                MEASURES, [{"experiment": context.experiment.name, **keys, **row} for row in self.measures]
            ),
            "generations": as_table(GENERATIONS, [{**keys, **row} for row in self.generations]),
            "steps": as_table(STEPS, [{**keys, **row} for row in self.steps]),
        }
        if context.experiment.arms[0].code == arm:
            tables["facts"] = as_table(FACTS, _fact_rows(context, seed))
        return tables


def _fact_rows(context: Context, seed: int) -> Rows:
    pools = assign_pools(context.world, seed, context.preset.pool_size)
    split = {fact.id: name for name in POOLS for fact in pools[name]}
    return [
        {
            "seed": seed,
            "fact": fact.id,
            "subject": fact.subject,
            "kind": fact.kind,
            "relation": fact.relation,
            "object": fact.object,
            "taught": fact.taught,
            "exposure": fact.exposure,
            "split": split.get(fact.id),
        }
        for fact in context.world.facts
    ]


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Records every step: rollouts, logged scalars, drift, and measures where drift crosses a threshold."""

    def __init__(self, context: Context, seed: int, records: Records, report: Report) -> None:
        self._context = context
        self._seed = seed
        self._records = records
        self._report = report

    def attach(self, trainer: AttributedGRPOTrainer) -> None:
        self._trainer = trainer
        world, pools = (
            self._context.world,
            assign_pools(self._context.world, self._seed, self._context.preset.pool_size),
        )
        prompts = [
            prompt(world, fact, world.relation_of(fact).questions[0], self._context.experiment.prompt_family)
            for pool in IN_RUN
            for fact in pools[pool][:_DRIFT_PROMPTS_PER_POOL]
        ]
        # TRL loads the reference from the policy's path; the checkpoint's hash shows that it is the start model.
        reference: PreTrainedModel = trainer.ref_model
        self._drift = DriftMeter(
            trainer.accelerator.unwrap_model(reference),
            self._context.tokenizer,
            prompts,
            self._context.training.max_completion_length,
            self._seed,
        )

    def timed(self, name: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        step = self._trainer.state.global_step
        self._records.steps.append(
            {"step": step, "name": f"time/{name}", "value": time.perf_counter() - started}
        )
        return result

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        step = state.global_step
        self._records.generations += self._rollout_rows(step)
        if step % self._context.training.drift_every == 0 or step == self._context.training.steps:
            self.timed("drift", lambda: self._measure_drift(step))
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
        self._records.steps += [
            {"step": state.global_step, "name": _CLOCKED.get(name, name), "value": float(value)}
            for name, value in logs.items()
            if name not in _NOT_LOGGED
        ]

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._records.save(Path(args.output_dir, f"checkpoint-{state.global_step}", "records.json"))

    def _measure_drift(self, step: int) -> None:
        policy = self._trainer.accelerator.unwrap_model(self._trainer.model)
        forward, reverse = self._drift.forward_kl(policy), self._drift.reverse_kl(policy)
        rows = [("forward_kl", forward), ("reverse_kl", reverse)]
        seen = {row["name"] for row in self._records.steps}
        crossed = [
            name
            for threshold in self._context.experiment.kl_thresholds
            if forward >= threshold and (name := f"checkpoint/kl_{threshold}") not in seen
        ]
        rows += [(name, 1.0) for name in crossed]
        self._records.steps += [{"step": step, "name": name, "value": value} for name, value in rows]
        if crossed:
            measured, _ = self._context.measure(policy, self._seed, responses=False)
            self._records.measured(step, measured, [])

    def _rollout_rows(self, step: int) -> Rows:
        rows = zip(
            generation_rows(self._trainer.rollouts, "train"), self._trainer.trained_rewards, strict=True
        )
        return [{"step": step, **row, "reward": reward} for row, reward in rows]


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), "utf-8")
