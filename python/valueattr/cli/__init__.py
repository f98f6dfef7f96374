"""The command line: parses, calls the API, prints. Exit codes: 0 done, 1 failed, 2 bad usage.

A file a noun; what they print is rendered in `render`. Whatever is slow to import is imported by the command that
needs it, so that `--help` is quick.
"""

import io
import sys
from typing import Annotated

import typer

from valueattr import __version__
from valueattr.cli import (
    audit,
    capture,
    compare,
    diagnose,
    export,
    lexicon,
    probe,
    questions,
    rebuild,
    report,
    run,
    scan,
    verify,
)

__all__ = ["app"]

# Help by Rich would take as long to import as all else that help needs.
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for noun in (run, diagnose, report, compare, scan, capture, probe, verify, rebuild):
    app.add_typer(noun.app)
app.add_typer(lexicon.app, name="lexicon")
app.add_typer(audit.app, name="audit")
app.add_typer(questions.app, name="questions")
app.add_typer(export.app, name="export")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Measure what RLHF does to a language model's knowledge and candour."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The names of files may be no text, and a terminal may lack characters.
        sys.stdout.reconfigure(errors="backslashreplace")
