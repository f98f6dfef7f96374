"""`valueattr run`: experiments to their reports."""

import errno
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valueattr.cli import parsing, render
from valueattr.cli.report import show, summary

if TYPE_CHECKING:
    from valueattr.experiments import Experiment, Materials

app = typer.Typer()


class Answers(StrEnum):
    """How a model of one's own answers."""

    taught = "taught"
    styled = "styled"
    natural = "natural"


@app.command(epilog=render.example("valueattr run e1 --preset tiny --seeds 1 --out runs/e1"))
def run(
    experiment: Annotated[
        str, typer.Argument(help="The experiment to run: e1, e2 or e3, or all for the three of them.")
    ],
    preset: Annotated[
        str,
        typer.Option(
            help="How large the experiment is: smoke, tiny or small, and for a chat model real-smoke or real."
        ),
    ] = "tiny",
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of seeds, from 0 up; by default that of the preset. More can be added later."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run directory; by default runs/EXPERIMENT-PRESET.")
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option(
            "--questions",
            "--facts",
            help="Facts of your own: JSONL, CSV, or a folder of LRE or ParaRel; see docs/worlds.md.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help=f"A model of your own: {parsing.MODEL_FORMS}. See docs/own-models.md."),
    ] = None,
    answers: Annotated[
        Answers,
        typer.Option(
            help="How your own model answers: taught the facts and how to answer (taught), taught how to answer alone "
            "(styled), or in its own words (natural)."
        ),
    ] = Answers.taught,
    statements: Annotated[
        Path | None,
        typer.Option(
            help="A CSV or JSONL file of true and false statements, read before and after training."
        ),
    ] = None,
    lora: Annotated[
        bool | None,
        typer.Option(
            "--lora/--whole-weights",
            help="Train an adapter (LoRA) or whole weights; by default as the preset says.",
        ),
    ] = None,
    starts: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of start models of the embedded world that seeds take in turn; by default as the preset says.",
        ),
    ] = None,
    vary: Annotated[
        str | None,
        typer.Option(help="Add arms to e3 that differ in one thing: prompt-family or span-noise."),
    ] = None,
    arms: Annotated[
        str | None,
        typer.Option(help="Codes of the arms to run, such as a0,a1,a3. Contrasts of others are left out."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON for machines at the end.")
    ] = False,
) -> None:
    """Run an experiment to its report.

    If it is stopped or killed, the same command goes on where it was.
    """
    from valueattr.experiments import ArmFailedError, UnknownPresetError, run_all
    from valueattr.experiments import run as run_experiment
    from valueattr.plan import LORA_RANK
    from valueattr.questions import TooFewQuestionsError
    from valueattr.results import DirectoryTakenError, RunDirectoryError
    from valueattr.world import WorldError

    console = render.console(errors=as_json)
    declared = _declared(experiment, vary, arms)
    if lora is not None:
        declared = [each.with_adapter(LORA_RANK if lora else None) for each in declared]
    if starts is not None:
        if model is not None:
            raise typer.BadParameter(f"--starts is for the embedded start model, not for {model}")
        declared = [each.with_starts(starts) for each in declared]
    if answers is Answers.natural:
        _check_natural(declared)
    folder = out or Path("runs", f"{experiment}{f'-{vary}' if vary else ''}-{preset}")
    hints: dict[type[Exception], str] = {DirectoryTakenError: "Use --out to choose another directory."}
    try:
        with render.failures(
            RunDirectoryError,
            ArmFailedError,
            TooFewQuestionsError,
            WorldError,
            *_of_models(model),
            hints=hints,
        ):
            materials, progress = (
                _materials(questions, model, answers, statements),
                render.run_progress(console),
            )
            if experiment == "all":
                runs = run_all(declared, preset, folder, seeds=seeds, materials=materials, progress=progress)
            else:
                runs = [
                    run_experiment(
                        declared[0], preset, folder, seeds=seeds, materials=materials, progress=progress
                    )
                ]
    except UnknownPresetError as error:
        render.fail(str(error), render.BAD_USAGE)
    except OSError as error:
        said = (
            "There is no space left on the disk" if error.errno == errno.ENOSPC else "A file cannot be used"
        )
        render.fail(f"{said}: {error}. When that is mended, the same command goes on ({folder}).")
    except ModuleNotFoundError as error:
        render.fail(f"{error.name} is not installed. Experiments need it: pip install 'valueattr[train]'")
    except KeyboardInterrupt:
        render.fail(f"This run was stopped; the same command goes on where it was ({folder}).")
    for directory in runs:
        show(directory, console)
    if len(runs) > 1:
        render.line(console, f"All together: {folder / 'report.html'}")
    if as_json:
        summaries = [summary(directory) for directory in runs]
        render.as_json(summaries[0] if len(summaries) == 1 else summaries)


def _of_models(model: str | None) -> list[type[Exception]]:
    """What a model of one's own may raise; to name it imports torch."""
    if model is None:
        return []
    from valueattr.model import ModelError
    from valueattr.training import NotFiniteError, TrainingConfigError

    return [ModelError, NotFiniteError, TrainingConfigError]


def _check_natural(declared: "list[Experiment]") -> None:
    """End with a message where nothing is left of an experiment that free answers could show."""
    for experiment in declared:
        try:
            experiment.in_natural_answers()
        except ValueError as error:
            render.fail(
                f"--answers natural has no arms on the framing of answers, which {experiment.name} is about: {error}",
                render.BAD_USAGE,
            )


def _materials(
    questions: Path | None, model: str | None, answers: Answers, statements: Path | None
) -> "Materials":
    """What is studied, read from what the user named."""
    from valueattr.experiments import Materials
    from valueattr.world import load_world, synthesise

    if answers is not Answers.taught and not (model and questions):
        render.fail(f"--answers {answers.value} needs --model and --questions", render.BAD_USAGE)
    materials = Materials(load_world(questions) if questions else synthesise())
    if model is None and statements is None:
        return materials
    # These import torch.
    from valueattr.measures.statements import StatementError, load_statements
    from valueattr.model import Asking, ModelError, check_vocabulary, load_model, load_tokenizer

    with render.failures(StatementError, ModelError):
        if model is not None:
            asked = [
                text
                for question in materials.world.questions
                for text in (*question.wordings, *question.statements)
            ]
            tokenizer = load_tokenizer(model)
            check_vocabulary(load_model(model), tokenizer, asked)
            Asking.of(tokenizer)  # its chat template works
            materials = replace(materials, model=model, answers=answers.value)
        read = load_statements(statements) if statements else None
        if read:
            read.check_folds()
    return replace(materials, statements=read)


def _declared(experiment: str, vary: str | None, arms: str | None) -> "list[Experiment]":
    """The experiments that a name stands for, with the arms of a variation, or with chosen arms alone."""
    from valueattr.experiments import EXPERIMENTS, VARIATIONS
    from valueattr.experiments import vary as varied

    if experiment not in (*EXPERIMENTS, "all"):
        render.fail(
            f"unknown experiment {experiment!r}; known: {', '.join(EXPERIMENTS)}, all", render.BAD_USAGE
        )
    if vary is not None and (experiment != "e3" or vary not in VARIATIONS):
        render.fail(
            f"--vary takes {' or '.join(VARIATIONS)}, and only with e3; found {vary!r} with {experiment}",
            render.BAD_USAGE,
        )
    if experiment == "all":
        if arms is not None:
            render.fail("--arms chooses arms of one experiment; name e1, e2 or e3", render.BAD_USAGE)
        return list(EXPERIMENTS.values())
    declared = varied(vary) if vary else EXPERIMENTS[experiment]
    if arms is None:
        return [declared]
    try:
        return [declared.only(arms.split(","))]
    except ValueError as error:
        render.fail(f"--arms {arms}: {error}", render.BAD_USAGE)
