"""The one runner: plan, start model, arms, tables, report."""

import os
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console

from valueattr.experiments._declaration import Arm, Experiment
from valueattr.experiments._progress import Bar, Display
from valueattr.experiments._workers import Task, run_tasks
from valueattr.results import RunDirectory, RunDirectoryError, part_name
from valueattr.world import World, assign_pools, synthesise

_VERSIONS = (
    "valueattr",
    "torch",
    "transformers",
    "trl",
    "tokenizers",
    "accelerate",
    "datasets",
    "numpy",
    "pyarrow",
)


class UnknownPresetError(ValueError):
    """No preset of that name."""


def run(
    experiment: Experiment,
    preset: str,
    out: str | Path,
    *,
    seeds: int | None = None,
    world: World | None = None,
    reuse: Sequence[RunDirectory] = (),
    console: Console | None = None,
) -> RunDirectory:
    """Run an experiment to its report, or go on with the one that was started in `out`.

    seeds: seeds 0 to seeds - 1 are run (default: the preset's); more can be added to a run later.
    world: the facts; the embedded world by default.
    reuse: runs from which arms that are trained in the same way are taken over.

    Raises:
        UnknownPresetError: the experiment has no such preset.
        RunDirectoryError: `out` holds another plan, or another process is at it, or the disk is full.
        ArmFailedError: an arm raised; finished arms are kept and the same call goes on from there.
    """
    if preset not in experiment.presets:
        raise UnknownPresetError(
            f"unknown preset {preset!r} for {experiment.name}; known: {', '.join(experiment.presets)}"
        )
    display = Display(console or Console())
    settings = experiment.presets[preset]
    wanted = list(range(settings.seeds if seeds is None else seeds))
    world = world or synthesise()
    for seed in wanted:
        assign_pools(world, seed, settings.pool_size)  # refuses too small a world before anything is written
    directory = RunDirectory.create(
        out,
        experiment.plan(preset, world.fingerprint()),
        {"experiment": experiment.name, "preset": preset, "started_with_seeds": wanted},
    )
    started = time.perf_counter()
    with directory.locked():
        _say_plan(display, experiment, preset, wanted, directory)
        _run_arms(display, directory, experiment, preset, wanted, world, reuse)
        with display.phase("tables and report", 1, "report") as bar:
            _finish(directory, experiment, bar)
    _write_environment(directory, {**display.seconds, "all in": time.perf_counter() - started})
    return directory


def _say_plan(
    display: Display, experiment: Experiment, preset: str, seeds: list[int], directory: RunDirectory
) -> None:
    trained = sum(arm.is_trained for arm in experiment.arms)
    display.say(
        f"{experiment.name.upper()}, {experiment.title}: {trained} trained arms x {len(seeds)} seed(s), "
        f"preset {preset}, {experiment.presets[preset].steps} steps each"
    )
    display.say(f"plan {directory.plan_hash[:12]} sealed in {directory.path / 'plan.json'}")
    display.say("loading torch, transformers and TRL ...")


def _run_arms(
    display: Display,
    directory: RunDirectory,
    experiment: Experiment,
    preset: str,
    seeds: list[int],
    world: World,
    reuse: Sequence[RunDirectory],
) -> None:
    import torch
    import transformers

    from valueattr.experiments._arm import file_hash
    from valueattr.experiments._context import Context
    from valueattr.world.start_model import StartModelRecipe, is_cached, start_model

    settings = experiment.presets[preset]
    recipe = StartModelRecipe(settings.hidden_size, settings.layers, documents=settings.documents)
    transformers.utils.logging.disable_progress_bar()  # ours says more
    gpu = torch.cuda.is_available()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    if is_cached(world, recipe):
        folder = start_model(world, recipe)
    else:
        display.say("training the start model on first use; it is cached for every later run")
        with display.phase("start model", 1, "steps") as bar:

            def show(step: int, steps: int, loss: float) -> None:
                bar.total = steps
                bar.update(step, f"loss {loss:.2f}")

            folder = start_model(world, recipe, progress=show)
    digest = file_hash(folder / "model.safetensors")
    _check_same_start(directory, digest)
    directory.write_json("start_model.json", {"path": str(folder), "sha256": digest})
    wanted = [(arm, seed) for seed in seeds for arm in experiment.arms]
    missing = [(arm, seed) for arm, seed in wanted if not directory.has_part(part_name(arm.code, seed))]
    if kept := len(wanted) - len(missing):
        display.say(f"{kept} arm(s) were finished before and are kept")
    if adopted := _adopt_twins(directory, reuse, missing):
        display.say(f"{adopted} arm(s) were trained in the same way by another experiment and are taken over")
    tasks = [
        Task(arm.code, seed) for arm, seed in missing if not directory.has_part(part_name(arm.code, seed))
    ]
    if not tasks:
        return
    with display.phase("arms", len(tasks) * settings.steps, "steps") as bar:
        run_tasks(
            directory, Context(experiment, settings, world, folder), tasks, gpu, _tracker(bar, settings.steps)
        )


def _adopt_twins(
    directory: RunDirectory, others: Sequence[RunDirectory], parts: Sequence[tuple[Arm, int]]
) -> int:
    """Take over parts that another run has made in the very same way; how many."""
    plan, adopted = directory.plan, 0
    for arm, seed in parts:
        for other in others:
            twin = _twin(plan, arm.code, other.plan)
            if (
                twin
                and other.start_model["sha256"] == directory.start_model["sha256"]
                and other.has_part(part_name(twin, seed))
            ):
                directory.adopt(
                    other, part_name(twin, seed), part_name(arm.code, seed), plan["experiment"], arm.code
                )
                adopted += 1
                break
    return adopted


_PER_RUN = ("world", "settings", "kl_thresholds", "frontier_every")
_PER_ARM = ("feedback", "methods", "families", "prompted")


def _twin(plan: Mapping[str, Any], arm: str, other: Mapping[str, Any]) -> str | None:
    """The arm of another plan that is trained in the same way and measured at least as fully."""
    if any(plan[key] != other[key] for key in _PER_RUN) or (plan["probed"] and not other["probed"]):
        return None
    untrained = plan["feedback"][arm] is None
    keys = [key for key in _PER_ARM if not (untrained and key == "prompted")]
    for code in other["arms"]:
        if all(plan[key][arm] == other[key][code] for key in keys):
            return str(code)
    return None


def _tracker(bar: Bar, steps: int) -> Any:
    """Turns the steps of parallel tasks into one count."""
    at: dict[Task, int] = {}

    def on_step(task: Task, step: int) -> None:
        at[task] = steps if step < 0 else step
        bar.update(sum(at.values()), f"{task.arm} seed {task.seed}" + (" done" if step < 0 else ""))

    return on_step


def _check_same_start(directory: RunDirectory, digest: str) -> None:
    if (directory.path / "start_model.json").is_file():
        before = directory.start_model["sha256"]
        if before != digest:
            raise RunDirectoryError(
                f"{directory.path} was started from another start model ({before[:12]}, this one is {digest[:12]}; "
                "other library versions train another one): choose another --out"
            )


def _finish(directory: RunDirectory, experiment: Experiment, bar: Bar) -> None:
    from valueattr.report import write_report
    from valueattr.stats import hedging_summary, summarise

    order = [
        part_name(arm.code, seed)
        for seed in directory.seeds
        for arm in experiment.arms
        if directory.has_part(part_name(arm.code, seed))
    ]
    directory.assemble(order)
    summary = [
        summarise(directory.table("measures")),
        hedging_summary(experiment.name, directory.table("generations")),
    ]
    directory.write_table("summary", pa.concat_tables(summary).unify_dictionaries())
    _write_environment(directory, _arm_seconds(directory))
    write_report(directory)
    shutil.rmtree(directory.path / "work", ignore_errors=True)
    bar.update(1)


def _arm_seconds(directory: RunDirectory) -> dict[str, float]:
    """Seconds of all arms together, by what they were spent on."""
    steps = directory.table("steps")
    clocked = (
        steps[steps["name"].astype(str).str.startswith("time/")].groupby("name", observed=True)["value"].sum()
    )
    return {f"arms: {str(name).removeprefix('time/')}": float(value) for name, value in clocked.items()}


def _write_environment(directory: RunDirectory, timing: dict[str, float]) -> None:
    import torch

    path = directory.path / "environment.json"
    before = directory.environment["timing"] if path.is_file() else {}
    directory.write_json(
        "environment.json",
        {
            "versions": {name: version(name) for name in _VERSIONS},
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} core(s)",
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            "seeds": directory.seeds,
            "timing": {**before, **timing},
        },
    )
