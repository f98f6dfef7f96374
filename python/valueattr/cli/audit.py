"""`valueattr audit`: the error of the hedging scanner or of another rater, corrected by labels made by hand."""

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valueattr.cli import render

if TYPE_CHECKING:
    import pandas as pd

    from valueattr.hedging.audit import Inputs

# Files left out of a folder.
_MOST_NAMED = 5

app = typer.Typer(help="Correct a scanner's or rater's error by labels made by hand.", no_args_is_help=True)

_Responses = Annotated[
    Path,
    typer.Argument(help="A file of responses, a folder of them, as for valueattr scan, or a run directory."),
]
_Field = Annotated[str, typer.Option(help="The field that holds the text, or a dotted path to it.")]
_Exclude = Annotated[
    list[str] | None,
    typer.Option(
        help="A pattern such as '*.txt' of what to leave out of a folder. The option may be repeated."
    ),
]
_UNCLEAR = "Use --exclude to leave files or folders out, or name a file."


@app.command(
    "export",
    epilog=render.example("valueattr audit export dump.jsonl --field completion --by model --out sheet.csv"),
)
def export(
    responses: _Responses,
    out: Annotated[Path, typer.Option(help="The CSV file to write.")],
    field: _Field = "response",
    by: Annotated[
        list[str] | None,
        typer.Option(help="A field to group by, or a dotted path to it. The option may be repeated."),
    ] = None,
    kind: Annotated[str, typer.Option(help="The kind of hedge to label, or any.")] = "any",
    verdict: Annotated[
        str | None,
        typer.Option(
            help="The field that holds a rater's verdict, which is audited in place of the scanner."
        ),
    ] = None,
    is_: Annotated[str | None, typer.Option("--is", help="The verdict to audit, such as refuse.")] = None,
    exclude: _Exclude = None,
    per_stratum: Annotated[
        int, typer.Option(min=2, help="Number of flagged texts to label per group, and of unflagged ones.")
    ] = 50,
    seed: Annotated[int, typer.Option(min=0, help="The seed that draws the texts.")] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a sheet that is there, with the labels in it.")
    ] = False,
) -> None:
    """Write a sheet of texts to be labelled by hand.

    A label is 0 or 1. The sheet does not show what the scanner or the rater said.
    """
    from valueattr.hedging.audit import (
        ANY,
        AuditError,
        UnclearFolderError,
        Verdict,
        audit_sheet,
        is_run,
        read_responses,
        response_files,
        write_sheet,
    )
    from valueattr.outputs import OutputError, OutputExistsError, new_output
    from valueattr.results import RunDirectoryError

    if out.suffix.lower() != ".csv":
        render.fail(f"--out {out}: expected a .csv file", render.BAD_USAGE)
    if (verdict is None) != (is_ is None):
        render.fail("--verdict names a field and --is its value: give both or neither", render.BAD_USAGE)
    if verdict is not None and kind != ANY:
        render.fail("--kind is what the scanner finds, and --verdict what a rater says", render.BAD_USAGE)
    flag = kind if verdict is None or is_ is None else Verdict(verdict, is_)
    hints: dict[type[Exception], str] = {
        OutputExistsError: "Use --force to write over it, if nobody needs the labels in it.",
        UnclearFolderError: _UNCLEAR,
    }
    exclude = exclude or []
    with render.failures(AuditError, RunDirectoryError, OutputError, hints=hints):
        found = response_files(responses, exclude)
        inside = Path(os.path.realpath(responses)) in Path(os.path.realpath(out)).parents
        if inside and os.path.isdir(responses) and not is_run(responses):
            render.fail(
                f"--out {out}: the import would read it as responses; choose a place outside {responses}"
            )
        with new_output(out, inputs=found.files, overwrite=force) as place:
            rows = read_responses(responses, field, exclude=exclude)
            sheet = audit_sheet(rows, field, by or [], flag, per_stratum, seed)
            write_sheet(sheet, place)
    _warn_of_what_is_left_out(found)
    typer.echo(f"{len(sheet)} texts in {out}: fill in the column `label`, then run valueattr audit import")


@app.command(
    "import", epilog=render.example("valueattr audit import dump.jsonl sheet.csv --field completion")
)
def import_labels(
    responses: _Responses,
    sheet: Annotated[Path, typer.Argument(help="The sheet with its labels.")],
    field: _Field = "response",
    exclude: _Exclude = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the shares as JSON for machines.")] = False,
) -> None:
    """Print the share of texts that hedge, or that have a verdict.

    It is shown as the scanner or the rater flags it, and as the labels correct it.
    """
    from valueattr.hedging.audit import (
        AuditError,
        UnclearFolderError,
        corrected_shares,
        read_responses,
        read_sheet,
        response_files,
    )
    from valueattr.results import RunDirectoryError

    exclude = exclude or []
    with render.failures(AuditError, RunDirectoryError, hints={UnclearFolderError: _UNCLEAR}):
        found = response_files(responses, exclude)
        rows = read_responses(responses, field, exclude=exclude)
        shares = corrected_shares(rows, field, read_sheet(sheet))
    _warn_of_what_is_left_out(found)
    if as_json:
        typer.echo(shares.to_json(orient="records"))
    else:
        _show(shares)


@app.command(
    "agreement", epilog=render.example("valueattr audit agreement judged.jsonl outcome label second_label")
)
def agreement(
    responses: _Responses,
    columns: Annotated[
        list[str], typer.Argument(help="The fields that raters wrote, two or more, or dotted paths to them.")
    ],
    exclude: _Exclude = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON for machines.")] = False,
) -> None:
    """Print how far raters agree, as Krippendorff's alpha.

    It is 1 where they always do, and 0 where they do as chance would.
    """
    from valueattr.hedging.audit import (
        AuditError,
        UnclearFolderError,
        rater_agreement,
        read_responses,
        response_files,
    )
    from valueattr.results import RunDirectoryError

    exclude = exclude or []
    with render.failures(AuditError, RunDirectoryError, hints={UnclearFolderError: _UNCLEAR}):
        found = response_files(responses, exclude)
        agreed = rater_agreement(read_responses(responses, exclude=exclude), columns)
    _warn_of_what_is_left_out(found)
    if as_json:
        typer.echo(agreed.to_json(orient="records"))
    else:
        _show_agreement(agreed)


def _warn_of_what_is_left_out(found: "Inputs") -> None:
    named = list(found.left_out.items())[:_MOST_NAMED]
    for file, reason in named:
        render.warn(f"left out {file}: {reason}")
    if len(named) < len(found.left_out):
        render.warn(f"left out {len(found.left_out)} files in all")


def _show(shares: "pd.DataFrame") -> None:
    from rich.markup import escape

    from valueattr.hedging.audit import shown

    groups = list(shares.columns[: list(shares.columns).index("n")])
    heads = ("n", "audited", "flagged \\[95%]", "corrected \\[95%]")
    table = render.table(*(escape(name) for name in groups), *heads, numbers=heads)
    for row in shares.to_dict("records"):
        table.add_row(
            *(escape(shown(row[name])) for name in groups),
            str(row["n"]),
            str(row["audited"]),
            f"{row['raw']:.3f} \\[{row['raw_low']:.3f}, {row['raw_high']:.3f}]",
            f"{row['corrected']:.3f} \\[{row['low']:.3f}, {row['high']:.3f}]",
        )
    render.console().print(table)


def _show_agreement(agreed: "pd.DataFrame") -> None:
    from rich.markup import escape

    numbers = ("n", "same", "alpha")
    table = render.table("raters", *numbers, numbers=numbers)
    for row in agreed.to_dict("records"):
        shares = ("not defined" if math.isnan(row[name]) else f"{row[name]:.3f}" for name in numbers[1:])
        table.add_row(escape(", ".join(row["raters"])), str(row["n"]), *shares)
    render.console().print(table)
