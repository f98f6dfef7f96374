"""The one runner: plan, start model, arms, tables, report."""

import os
import platform
import shutil
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from valueattr.experiments._declaration import Experiment
from valueattr.experiments._progress import Bar, Display
from valueattr.experiments._workers import Task, run_tasks
from valueattr.results import RunDirectory, RunDirectoryError
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
    console: Console | None = None,
) -> RunDirectory:
    """Run an experiment to its report, or go on with the one that was started in `out`.

    seeds: seeds 0 to seeds - 1 are run (default: the preset's); more can be added to a run later.
    world: the facts; the embedded world by default.

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
        _run_arms(display, directory, experiment, preset, wanted, world)
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
) -> None:
    import torch
    import transformers

    from valueattr.experiments._arm import file_hash, part_name
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
    tasks = [
        Task(arm.code, seed)
        for seed in seeds
        for arm in experiment.arms
        if not directory.has_part(part_name(arm.code, seed))
    ]
    if skipped := len(seeds) * len(experiment.arms) - len(tasks):
        display.say(f"{skipped} arm(s) were finished before and are kept")
    if not tasks:
        return
    with display.phase("arms", len(tasks) * settings.steps, "steps") as bar:
        run_tasks(
            directory, Context(experiment, settings, world, folder), tasks, gpu, _tracker(bar, settings.steps)
        )


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
    from valueattr.experiments._arm import part_name
    from valueattr.report import write_report
    from valueattr.stats import summarise

    order = [
        part_name(arm.code, seed)
        for seed in directory.seeds
        for arm in experiment.arms
        if directory.has_part(part_name(arm.code, seed))
    ]
    directory.assemble(order)
    directory.write_table("summary", summarise(directory.table("measures")))
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
