"""`valueattr report`: the report of a finished run, and what the terminal shows of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valueattr.cli import render

if TYPE_CHECKING:
    from rich.console import Console

    from valueattr.results import RunDirectory

app = typer.Typer()


@app.command(epilog=render.example("valueattr report runs/e1-tiny"))
def report(
    directory: Annotated[Path, typer.Argument(help="The run directory.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON for machines at the end.")
    ] = False,
) -> None:
    """Write the report of a finished run anew, and print its headline."""
    from valueattr.report import write_report
    from valueattr.results import RunDirectory, RunDirectoryError

    with render.failures(RunDirectoryError, OSError):
        run_directory = RunDirectory(directory)
        write_report(run_directory)
        show(run_directory, render.console(errors=as_json))
    if as_json:
        render.as_json(summary(run_directory))


def show(directory: "RunDirectory", console: "Console") -> None:
    """Print a run's headline, the table that it rests on, and where the time went."""
    from rich.markup import escape

    from valueattr.report import changed_plan, forgotten_or_hidden, headline, headline_table, table_note

    columns, rows = headline_table(directory)
    table = render.table(*columns, wrap=False)
    for row in rows:
        table.add_row(*map(escape, row))
    console.print()
    console.print(table)
    console.print(f"[95% interval] {table_note(directory)}", style="dim", highlight=False, markup=False)
    console.print()
    render.line(console, headline(directory), style="bold")
    render.line(console, forgotten_or_hidden(directory), style="bold")
    if changed := changed_plan(directory):
        render.line(
            console, f"The plan was {changed}: these are the numbers of the plan as it is now.", style="red"
        )
    console.print()
    render.line(console, _where_time_went(directory.environment["timing"]))
    render.line(console, f"Report: {directory.path / 'report.html'}")


def _where_time_went(seconds: dict[str, float]) -> str:
    """Phases on the clock, then what the arms' processes did with their time, each longest first."""
    phases = {name: value for name, value in seconds.items() if not name.startswith("arms: ")}
    inside = {name.removeprefix("arms: "): value for name, value in seconds.items() if name not in phases}

    def listed(part: dict[str, float]) -> str:
        return ", ".join(f"{k} {v:.0f} s" for k, v in sorted(part.items(), key=lambda item: -item[1]))

    return f"Where the time went: {listed(phases)}. In all arms together: {listed(inside)}."


def summary(directory: "RunDirectory") -> dict[str, object]:
    """What machines are told of a run."""
    from valueattr.report import forgotten_or_hidden, headline

    return {
        "run": str(directory.path),
        "report": str(directory.path / "report.html"),
        "plan": directory.plan_hash,
        "plan_is_sealed": directory.plan_is_intact,
        "seeds": directory.seeds_in_tables,
        "headline": headline(directory),
        "forgotten_or_hidden": forgotten_or_hidden(directory),
        "timing": directory.environment["timing"],
    }
