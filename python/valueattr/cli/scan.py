"""`valueattr scan`: hedging phrases in dumps of generations."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from valueattr.cli import render

if TYPE_CHECKING:
    from valueattr.hedging.dumps import DumpSummary

app = typer.Typer()

# Files that are left out for one reason, in the summary that people read.
_MOST_NAMED = 5


@app.command(epilog=render.example("valueattr scan dump.jsonl.zst --field completion --out hedges.parquet"))
def scan(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Files (.jsonl, .json, .txt, .csv or .tsv, also with .gz or .zst; .parquet; .arrow) or folders "
            "that hold one of these formats. A dash stands for JSON lines on standard input."
        ),
    ],
    field: Annotated[
        str, typer.Option(help="The field that holds the text, or a dotted path to it.")
    ] = "response",
    lexicon: Annotated[
        Path | None, typer.Option(help="A TOML file with a lexicon of your own; see docs/lexicon.md.")
    ] = None,
    modal: Annotated[bool, typer.Option(help="Also count modal and conditional forms.")] = False,
    stance: Annotated[
        bool,
        typer.Option(
            help="Also say of each text whether it answers, disclaims, evades, refuses or is unsure."
        ),
    ] = False,
    chat: Annotated[
        bool, typer.Option(help="Read the field as a chat and scan the turns of the assistant.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A .parquet or .csv file to write, with one row per text. With --spans it is a folder."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over what is at --out.")] = False,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            help="A pattern such as '*.txt' of files and folders to leave out. The option may be repeated."
        ),
    ] = None,
    spans: Annotated[bool, typer.Option(help="Also write where each phrase stands.")] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Number of threads at most; never more than one per core.")
    ] = None,
    on_error: Annotated[
        Literal["skip", "fail"],
        typer.Option(help="Whether a row without a text is skipped and counted, or ends the scan."),
    ] = "fail",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON for machines.")] = False,
) -> None:
    """Count hedging phrases in dumps of generations.

    The dumps may be of any size; memory does not grow with them.
    """
    from valueattr.hedging import HedgeScanner, LexiconError
    from valueattr.hedging.dumps import (
        BadRowError,
        ChatFieldError,
        DumpError,
        FolderError,
        dump_bytes,
        scan_dump,
    )
    from valueattr.outputs import OutputError, OutputExistsError

    if spans and out is None:
        render.fail("--spans needs --out, a folder for both tables", render.BAD_USAGE)
    hints: dict[type[Exception], str] = {
        BadRowError: "Use --on-error skip to count such rows and go on, or --chat if the field holds chats.",
        ChatFieldError: "Use --chat if the field holds chats.",
        FolderError: "Use --exclude to leave files or folders out, or name the files.",
        OutputExistsError: "Use --out to choose another place, or --force to write over it.",
    }
    exclude = exclude or []
    with render.failures(DumpError, LexiconError, OutputError, OSError, hints=hints):
        scanner = HedgeScanner(lexicon, threads, modal=modal, stance=stance)
        with render.scanned(dump_bytes(inputs, exclude)) as progress:
            summary = scan_dump(
                inputs,
                field=field,
                scanner=scanner,
                chat=chat,
                out=out,
                spans=spans,
                exclude=exclude,
                overwrite=force,
                on_error=on_error,
                progress=progress,
            )
    for line in summary.listed:
        render.warn(f"skipped {line}")
    if summary.skipped > len(summary.listed):
        render.warn(f"skipped {summary.skipped} rows in all")
    if as_json:
        render.as_json(asdict(summary))
    else:
        _show(summary, out)


def _show(summary: "DumpSummary", out: Path | None) -> None:
    numbers = ("phrases", "per 100 words", "texts with one")
    table = render.table("kind", *numbers, numbers=numbers)
    documents = max(summary.documents, 1)
    for kind, found in summary.kinds.items():
        share = summary.with_kind[kind] / documents
        table.add_row(kind, f"{found:,}", f"{100 * found / max(summary.words, 1):.3f}", f"{share:.1%}")
    console = render.console()
    console.print(table)
    if summary.stances:
        table = render.table("stance", "texts", "share", numbers=("texts", "share"))
        for stance, found in summary.stances.items():
            table.add_row(stance, f"{found:,}", f"{found / documents:.1%}")
        console.print(table)
    console.print(
        f"{summary.documents:,} texts, {summary.words:,} words; "
        f"{summary.hedge_only / documents:.1%} hold nothing but hedges"
        + (f"; {summary.skipped:,} rows skipped" if summary.skipped else "")
        + (f". Written to {str(out).encode(errors='backslashreplace').decode()}" if out else ""),
        highlight=False,
        markup=False,
    )
    for line in _files(summary):
        render.line(console, line)


def _files(summary: "DumpSummary") -> list[str]:
    """How many files were read, and what was left out, a line a reason."""
    lines = [f"Read {len(summary.files):,} file(s)."]
    by_reason: dict[str, list[str]] = {}
    for file, reason in summary.left_out.items():
        by_reason.setdefault(reason, []).append(file)
    for reason, files in by_reason.items():
        more = ", ..." if len(files) > _MOST_NAMED else ""
        lines.append(f"Left out {len(files):,} ({reason}): {', '.join(files[:_MOST_NAMED])}{more}")
    return lines
