"""`valueattr export`: a run in the files of other tools."""

from pathlib import Path
from typing import Annotated

import typer

from valueattr.cli import render

app = typer.Typer(no_args_is_help=True)


@app.callback()
def export() -> None:
    """Write a run in the files of other tools."""


@app.command(epilog=render.example("valueattr export inspect runs/e1-tiny --out logs"))
def inspect(
    directory: Annotated[Path, typer.Argument(help="The run directory.")],
    out: Annotated[
        Path, typer.Option(help="A new folder for the logs, one for each arm, seed and evaluation.")
    ],
) -> None:
    """Write a run's answers as logs for the viewer of Inspect."""
    from valueattr.export import ExportError, export_inspect
    from valueattr.outputs import OutputError
    from valueattr.results import RunDirectory, RunDirectoryError

    try:
        with render.failures(RunDirectoryError, ExportError, OutputError):
            written = export_inspect(RunDirectory(directory), out)
    except ModuleNotFoundError as error:
        render.fail(f"{error.name} is not installed. Logs of Inspect need it: pip install inspect-ai")
    console = render.console()
    render.line(console, f"{len(written)} logs in {out}. Open them with: inspect view start --log-dir {out}")
