"""`valueattr diagnose`: forgotten or hidden, from two checkpoints."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from valueattr.cli import parsing, render

if TYPE_CHECKING:
    from rich.console import Console

    from valueattr.diagnosis import Diagnosis

app = typer.Typer()


@app.command(
    epilog=render.example("valueattr diagnose --before A --after B --questions facts.csv --out diagnosis")
)
def diagnose(
    before: Annotated[
        str,
        typer.Option(help=f"The model before training: {parsing.MODEL_FORMS}."),
    ],
    after: Annotated[
        str,
        typer.Option(help="The model after training, such as the one before with its adapter: BASE+ADAPTER."),
    ],
    questions: Annotated[
        Path,
        typer.Option(
            help="The facts: a CSV file of subject, relation, object and template, or a JSONL file with a world."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="The folder to write to. If the command was stopped, the same command continues there."
        ),
    ],
    sham: Annotated[
        list[str] | None,
        typer.Option(
            help="A control: trained as the model after was, but on rewards without information. The option may be repeated."
        ),
    ] = None,
    relearn: Annotated[
        Literal["full", "none"],
        typer.Option(
            help="Teach facts of other subjects again to see what comes back (full), or not (none), which is less certain."
        ),
    ] = "full",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON for machines at the end.")
    ] = False,
) -> None:
    """Find out, for each fact, whether a model forgot it or hides it.

    The exit code is 2 if no verdict can be given.
    """
    from valueattr.diagnosis import DiagnosisRefusedError, RelearningError
    from valueattr.diagnosis import diagnose as diagnosed
    from valueattr.model import ModelError
    from valueattr.report import write_diagnosis
    from valueattr.results import DirectoryTakenError, RunDirectoryError
    from valueattr.world import WorldError, load_world

    console = render.console(errors=as_json)
    hints: dict[type[Exception], str] = {DirectoryTakenError: "Use --out to choose another directory."}
    try:
        with render.failures(RunDirectoryError, ModelError, WorldError, hints=hints):
            found = diagnosed(
                before,
                after,
                load_world(questions),
                shams=sham or (),
                relearn=relearn,
                out=out,
                say=lambda text: render.line(console, text),
            )
            page = write_diagnosis(found, out)
    except (DiagnosisRefusedError, RelearningError) as error:
        render.fail(f"no verdict: {error}", render.BAD_USAGE)
    except KeyboardInterrupt:
        render.fail(f"This diagnosis was stopped; the same command goes on where it was ({out}).")
    _show(found, console)
    render.line(console, f"Report: {page}")
    if as_json:
        render.as_json(
            {
                "diagnosis": str(out),
                "report": str(page),
                "headline": found.headline(),
                "verdicts": found.verdicts["verdict"].value_counts().to_dict(),
            }
        )


def _show(found: "Diagnosis", console: "Console") -> None:
    """Print the shares and the headline."""
    from valueattr.report import summary_rows

    table = render.table(
        "model", "measure", "estimate", "95% interval", "facts", numbers=("estimate", "facts")
    )
    for of, measure, estimate, bounds, _, facts in summary_rows(found):
        table.add_row(of, measure, estimate, bounds, facts)
    console.print()
    console.print(table)
    console.print()
    render.line(console, found.headline(), style="bold")
