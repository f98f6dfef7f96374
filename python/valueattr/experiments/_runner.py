"""The one runner: plan, start model, arms, tables, report."""

import os
import platform
import shutil
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from valueattr.experiments._progress import Bar, Lines, Progress, Timed, steps_on
from valueattr.experiments._workers import Task, quiet_libraries, run_tasks, start_forkserver
from valueattr.plan import EMBEDDED, Answers, Arm, Experiment, Plan, Preset, power_in_words
from valueattr.questions import QuestionSet, TooFewQuestionsError, assign_splits
from valueattr.results import DirectoryTakenError, RunDirectory, part_name, write_atomically
from valueattr.world import World, synthesise

if TYPE_CHECKING:
    from valueattr.experiments._preparation import Prepared
    from valueattr.measures.statements import Statements

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


# A model may have nothing wrong; then nothing is asked of that.
_NOT_IN_EVERY_MODEL = "false_belief"


class UnknownPresetError(ValueError):
    """No preset of that name."""


@dataclass(frozen=True)
class Materials:
    """What is studied, by default the embedded world and the start model that is made of it.

    world: the facts. model: a model of one's own, as `load_model` takes it.
    answers: "taught": it is taught the facts that it does not know, and how to answer; "styled": how to answer alone, and
    facts are kept of which it knows something; "natural": nothing, and its answers are read in its own words.
    statements: real statements, true and false, that are read before and after.
    """

    world: World = field(default_factory=synthesise)
    model: str = EMBEDDED
    answers: Answers = "taught"
    statements: "Statements | None" = None


def run(
    experiment: Experiment,
    preset: str,
    out: str | Path,
    *,
    seeds: int | None = None,
    materials: Materials | None = None,
    reuse: Sequence[RunDirectory] = (),
    progress: Progress | None = None,
) -> RunDirectory:
    """Run an experiment to its report, or go on with the one that was started in `out`.

    seeds: seeds 0 to seeds - 1 are run (default: the preset's); more can be added to a run later.
    reuse: runs from which arms that are trained in the same way are taken over.
    progress: what is told how far the run is; by default the log of `valueattr`.

    Raises:
        UnknownPresetError: the experiment has no such preset.
        RunDirectoryError: `out` holds another plan, or another process is at it, or the disk is full.
        TooFewQuestionsError: the world lacks facts or wordings that the experiment needs.
        StatementError: there are too few statements.
        ModelError: the model cannot be loaded.
        ValueError: the experiment is about framing, and answers are natural.
        ArmFailedError: an arm raised; finished arms are kept and the same call goes on from there.
    """
    if preset not in experiment.presets:
        raise UnknownPresetError(
            f"unknown preset {preset!r} for {experiment.name}; known: {', '.join(experiment.presets)}"
        )
    display = Timed(progress or Lines())
    materials = materials or Materials()
    if materials.answers == "natural":
        experiment = experiment.in_natural_answers()
    if materials.model != EMBEDDED:
        experiment = experiment.with_starts(1)
    settings = experiment.presets[preset]
    wanted = list(range(settings.seeds if seeds is None else seeds))
    materials, start = _prepared(display, settings, materials)
    if start:
        experiment = experiment.checked_for_noise()
    for seed in wanted:
        _check_splits(experiment, materials.world.questions, seed, settings.split_size)
    _check_probed(experiment, materials.world.questions)
    if materials.statements:
        materials.statements.check_folds()
    directory = RunDirectory.create(
        out,
        Plan.of(
            experiment,
            preset,
            materials.world.fingerprint(),
            materials.model,
            materials.answers,
            materials.statements.digest if materials.statements else None,
        ).to_json(),
        {"experiment": experiment.name, "preset": preset, "started_with_seeds": wanted},
    )
    started = time.perf_counter()
    with directory.locked():
        _say_plan(display, experiment, preset, wanted, directory)
        every = _with_seeds_begun(display, directory, wanted)
        _run_arms(display, directory, experiment, preset, every, materials, start, reuse)
        with display.phase("tables and report", 1, "report") as bar:
            _finish(directory, experiment, every, bar)
    _write_environment(directory, {**display.seconds, "all in": time.perf_counter() - started})
    return directory


def _check_splits(experiment: Experiment, questions: QuestionSet, seed: int, size: int) -> None:
    """Refuse too few questions before anything is written."""
    splits = assign_splits(questions, seed, size)
    asked = {split for arm in experiment.arms for split in experiment.prompted_in(arm)} - {
        _NOT_IN_EVERY_MODEL
    }
    asked |= {arm.feedback.splits[0] for arm in experiment.arms if arm.feedback}
    if empty := sorted(split for split in asked if not splits[split]):
        raise TooFewQuestionsError(
            f"seed {seed}: {experiment.name} asks for facts of the splits {', '.join(empty)}, and there are none"
        )


def _check_probed(experiment: Experiment, questions: QuestionSet) -> None:
    """Probes are trained on some of a relation's statements and tested on another one."""
    if not experiment.probed:
        return
    for question in questions:
        if len(question.statements) < 2:
            raise TooFewQuestionsError(
                f"{experiment.name} has probes, which need two or more held-out statements of each relation; "
                f"{question.relation!r} has {len(question.statements)}"
            )


def run_all(
    experiments: Sequence[Experiment],
    preset: str,
    out: str | Path,
    *,
    seeds: int | None = None,
    materials: Materials | None = None,
    progress: Progress | None = None,
) -> list[RunDirectory]:
    """Run experiments one after the other under `out`, with one page over all; arms that two have in common train once.

    Raises:
        UnknownPresetError, RunDirectoryError, ArmFailedError: as for `run`, as are its other errors.
    """
    from valueattr.report import write_overview

    _check_place_of_overview(Path(out), experiments)
    runs: list[RunDirectory] = []
    for experiment in experiments:
        folder = Path(out) / experiment.name
        runs.append(
            run(
                experiment,
                preset,
                folder,
                seeds=seeds,
                materials=materials,
                reuse=tuple(runs),
                progress=progress,
            )
        )
    write_overview(runs, Path(out))
    return runs


def _check_place_of_overview(folder: Path, experiments: Sequence[Experiment]) -> None:
    """The page over all experiments replaces one of theirs, and no other."""
    page = folder / "report.html"
    if page.exists() and not any((folder / e.name / "plan.json").exists() for e in experiments):
        raise DirectoryTakenError(f"{page} is there and of no run: choose another directory, or move it away")


def _with_seeds_begun(display: Progress, directory: RunDirectory, wanted: list[int]) -> list[int]:
    """The seeds asked for and those that the run has arms of, since its tables hold each seed with all of its arms."""
    finished = (
        directory.environment.get("seeds", []) if (directory.path / "environment.json").is_file() else []
    )
    if begun := sorted({*directory.seeds, *finished} - {*wanted}):
        display.say(f"the run also has seed(s) {', '.join(map(str, begun))}, which stay in its tables")
    return sorted({*wanted, *begun})


def _say_plan(
    display: Progress, experiment: Experiment, preset: str, seeds: list[int], directory: RunDirectory
) -> None:
    trained = sum(arm.is_trained for arm in experiment.arms)
    display.say(
        f"{experiment.name.upper()}, {experiment.title}: {trained} trained arms x {len(seeds)} seed(s), "
        f"preset {preset}, {experiment.presets[preset].steps} steps each"
    )
    display.say(f"plan {directory.plan_hash[:12]} sealed in {directory.path / 'plan.json'}")
    display.say(power_in_words(Plan.read(directory), len(seeds)))
    display.say("loading torch, transformers and TRL ...")


def _run_arms(
    display: Progress,
    directory: RunDirectory,
    experiment: Experiment,
    preset: str,
    seeds: list[int],
    materials: Materials,
    start: "Prepared | None",
    reuse: Sequence[RunDirectory],
) -> None:
    wanted = [(arm, seed) for seed in seeds for arm in experiment.arms]
    if not all(directory.has_part(part_name(arm.code, seed)) for arm, seed in wanted):
        start_forkserver()  # it imports the trainers while this process imports torch
    import torch
    import transformers

    from valueattr.experiments._context import Context
    from valueattr.experiments._records import file_hash

    settings = experiment.presets[preset]
    transformers.utils.logging.disable_progress_bar()  # ours says more
    gpu = torch.cuda.is_available()
    _use_all_cores()
    folders, known = (
        ([start.folder], start.summary) if start else _starts(display, settings, materials, seeds)
    )
    first, *others = [file_hash(folder / "model.safetensors") for folder in folders]
    _check_same_start(directory, [first, *others])
    made = {"path": str(folders[0]), "sha256": first, "others": others, **known}
    directory.write_json("start_model.json", made)
    missing = [(arm, seed) for arm, seed in wanted if not directory.has_part(part_name(arm.code, seed))]
    _check_parts(display, directory, experiment, wanted, missing)
    if kept := len(wanted) - len(missing):
        display.say(f"{kept} arm(s) were finished before and are kept")
    if adopted := _adopt_twins(directory, reuse, missing):
        display.say(f"{adopted} arm(s) were trained in the same way by another experiment and are taken over")
    tasks = [
        Task(arm.code, seed) for arm, seed in missing if not directory.has_part(part_name(arm.code, seed))
    ]
    if not tasks:
        return
    own = settings.own_controls and materials.model != EMBEDDED
    if own and not directory.controls.is_file():
        _make_controls(display, directory, folders[0], materials.world)
    with display.phase("arms", len(tasks) * settings.steps, "steps") as bar:
        run_tasks(
            directory,
            [
                Context(
                    experiment,
                    settings,
                    materials.world,
                    folder,
                    materials.statements,
                    materials.answers,
                    directory.controls if directory.controls.is_file() else None,
                )
                for folder in folders
            ],
            tasks,
            gpu,
            _tracker(bar, settings.steps),
        )


def _make_controls(display: Progress, directory: RunDirectory, start: Path, world: World) -> None:
    """Controls of a start model of one's own, without which verdicts are unsure; cached."""
    from valueattr.diagnosis import RelearningError, own_calibration
    from valueattr.model import ModelError

    with display.phase("controls", 1, "calibration") as bar, warnings.catch_warnings():
        quiet_libraries()
        display.say("making models to measure the verdict's error with; they are cached for later runs")
        try:
            controls = own_calibration(str(start), world, display.say).controls
        except (ModelError, RelearningError) as error:
            display.say(f"no controls, so that verdicts are unsure: {error}")
        else:
            write_atomically(directory.controls, partial(controls.to_parquet, index=False))
        bar.update(1)


def _check_parts(
    display: Progress,
    directory: RunDirectory,
    experiment: Experiment,
    wanted: Sequence[tuple[Arm, int]],
    missing: Sequence[tuple[Arm, int]],
) -> None:
    """Refuse finished arms whose tables are damaged, and tell of those that were in the tables and are gone."""
    for arm, seed in wanted:
        if (arm, seed) not in missing:
            facts = ("facts",) if arm is experiment.arms[0] else ()
            directory.check_part(part_name(arm.code, seed), ("generations", "measures", "steps", *facts))
    if (directory.path / "environment.json").is_file():
        finished = directory.environment.get("seeds", [])
        for arm, seed in missing:
            if seed in finished:
                display.say(f"arm {arm.code}, seed {seed}: its part is gone, so that it is made anew")


def _use_all_cores() -> None:
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(len(os.sched_getaffinity(0)))


def _prepared(
    display: Progress, settings: Preset, materials: Materials
) -> tuple[Materials, "Prepared | None"]:
    """What is studied of a model that is taught no fact: the facts that it knows, once it has learned styles if it shall."""
    if materials.answers == "taught":
        return materials, None
    display.say(f"asking {materials.model} what it knows; it is cached for later runs")
    from valueattr.experiments._preparation import prepare
    from valueattr.training import StylingRecipe

    _use_all_cores()
    recipe = (
        StylingRecipe(settings.styling_steps, temperature=settings.temperature)
        if materials.answers == "styled"
        else None
    )
    with warnings.catch_warnings():
        quiet_libraries()
        prepared = prepare(
            materials.model, materials.world, recipe, most=settings.facts_asked, display=display
        )
    known = prepared.summary
    moved = (
        f"; after the styles {known['no_longer_known']} of them are known less well, and are left out"
        if recipe
        else ""
    )
    display.say(
        f"it knows {known['strictly_known_before']} facts of the topics strictly ({', '.join(known['topics'])}){moved}"
    )
    return replace(materials, world=prepared.world), prepared


def _starts(
    display: Progress, settings: Preset, materials: Materials, seeds: Sequence[int]
) -> tuple[list[Path], dict[str, float]]:
    """The folders of the start models, which seeds take in turn, and for a model of one's own what it knows."""
    from valueattr.measures.belief import share_known
    from valueattr.model import TeachingRecipe, taught_model
    from valueattr.model.start import StartModelRecipe, start_folder, start_models

    if materials.model != EMBEDDED:
        display.say(
            f"teaching {materials.model} the facts that it does not know; it is cached for later runs"
        )
        with display.phase("teaching", 1, "steps") as bar:
            taught = taught_model(
                materials.model,
                materials.world,
                lambda model, tokenizer: share_known(model, tokenizer, materials.world.questions),
                TeachingRecipe(documents=settings.taught_documents),
                progress=steps_on(bar),
            )
        display.say(
            f"of the taught facts it knew {taught.known_before:.0%} before and knows {taught.known_after:.0%} now, "
            "in wordings that it was not taught"
        )
        return [taught.folder], {"known_before": taught.known_before, "known_after": taught.known_after}
    recipes = [
        StartModelRecipe(settings.hidden_size, settings.layers, documents=settings.documents, seed=seed)
        for seed in range(min(settings.starts, max(seeds) + 1))
    ]
    folders = [start_folder(materials.world, recipe) for recipe in recipes]
    missing = [recipe for recipe, folder in zip(recipes, folders, strict=True) if not folder.is_dir()]
    if missing:
        display.say(
            f"training {len(missing)} start model(s) on first use; each is cached for every later run"
        )
        with display.phase("start models", len(missing), "models") as bar:
            start_models(materials.world, missing, done=bar.update)
    return folders, {}


def _adopt_twins(
    directory: RunDirectory, others: Sequence[RunDirectory], parts: Sequence[tuple[Arm, int]]
) -> int:
    """Take over parts that another run has made in the very same way; how many."""
    plan, adopted = Plan.read(directory), 0
    for arm, seed in parts:
        for other in others:
            twin = _twin(plan, arm, Plan.read(other))
            if (
                twin
                and other.start_of(seed) == directory.start_of(seed)
                and other.has_part(part_name(twin, seed))
            ):
                directory.adopt(
                    other, part_name(twin, seed), part_name(arm.code, seed), plan.experiment, arm.code
                )
                adopted += 1
                break
    return adopted


def _twin(plan: Plan, arm: Arm, other: Plan) -> str | None:
    """The arm of another plan that is trained in the same way and measured at least as fully."""
    if _shared(plan) != _shared(other) or (plan.probed and not other.probed):
        return None
    wanted = _training(plan.arm(arm.code))
    return next((twin.code for twin in other.arms if _training(twin) == wanted), None)


def _shared(plan: Plan) -> tuple[Any, ...]:
    """What of a plan must agree for its arms to be the same."""
    return plan.world, plan.settings, plan.kl_thresholds, plan.frontier_every


def _training(arm: Arm) -> tuple[Any, ...]:
    """What makes an arm's weights and responses; the start model is the same whatever others are trained on."""
    return arm.feedback, arm.method, arm.prompt_family, arm.prompted if arm.feedback else None


def _tracker(bar: Bar, steps: int) -> Any:
    """Turns the steps of parallel tasks into one count."""
    at: dict[Task, int] = {}

    def on_step(task: Task, step: int) -> None:
        at[task] = steps if step < 0 else step
        bar.update(sum(at.values()), f"{task.arm} seed {task.seed}" + (" done" if step < 0 else ""))

    return on_step


def _check_same_start(directory: RunDirectory, digests: Sequence[str]) -> None:
    if not (directory.path / "start_model.json").is_file():
        return
    for before, digest in zip(directory.starts, digests, strict=False):  # seeds may have been added
        if before != digest:
            raise DirectoryTakenError(
                f"{directory.path} was started from another start model ({before[:12]}, this one is {digest[:12]}; "
                "other library versions or processors train another one): choose another directory"
            )


def _finish(directory: RunDirectory, experiment: Experiment, seeds: Sequence[int], bar: Bar) -> None:
    from valueattr.hedging.prevalence import hedging_summary, summarised_over_seeds
    from valueattr.report import write_report
    from valueattr.results.summary import summarise

    directory.assemble([part_name(arm.code, seed) for seed in seeds for arm in experiment.arms])
    summary = [
        summarise(summarised_over_seeds(directory.table("measures")), directory.subjects),
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
