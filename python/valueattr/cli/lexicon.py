"""`valueattr lexicon`: what stands in the lexicon of hedging phrases, and what it finds in a text."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valueattr.cli import render

if TYPE_CHECKING:
    from valueattr.hedging import Entry, HedgeScanner

app = typer.Typer(help="Look into the lexicon of hedging phrases.", no_args_is_help=True)

# Where there is no terminal, no line of a list is broken.
_WHOLE_LINES = 100_000

_Lexicon = Annotated[
    Path | None,
    typer.Argument(help="A TOML file with a lexicon of your own; by default the one that is shipped."),
]


@app.command("check", epilog=render.example("valueattr lexicon check own.toml"))
def check(lexicon: _Lexicon = None) -> None:
    """Check that a lexicon can be read.

    Each entry also has to count in its own example.
    """
    entries = _scanner(lexicon).entries
    silent = [entry for entry in entries if entry.example and not _counts_in_example(lexicon, entry)]
    for entry in silent:
        render.wrong(f"line {entry.line}: {entry.pattern!r} does not count in {entry.example!r}")
    if silent:
        raise typer.Exit(render.FAILED)
    without = sum(not (entry.example or entry.source) for entry in entries)
    typer.echo(f"{len(entries)} entries; {without} with neither example nor source")


def _counts_in_example(lexicon: Path | None, entry: "Entry") -> bool:
    phrases = _scanner(lexicon).explain(entry.example or "")
    return any(
        phrase.entry == entry and phrase.verdict in ("counts", "longer", "covered") for phrase in phrases
    )


@app.command("list", epilog=render.example("valueattr lexicon list --kind epistemic"))
def list_entries(
    lexicon: _Lexicon = None,
    kind: Annotated[str | None, typer.Option(help="List only the entries of this kind.")] = None,
) -> None:
    """List the entries with their kind, strength, pattern and example."""
    from rich.markup import escape

    from valueattr.hedging import KINDS, MODAL, STANCE_KINDS

    known = (*KINDS, MODAL, *STANCE_KINDS)
    if kind not in (None, *known):
        render.fail(f"--kind {kind}: there is no such kind; known: {', '.join(known)}", render.BAD_USAGE)
    table = render.table("kind", "strength", "pattern", "example")
    for column in table.columns:
        column.overflow = "fold"  # a pattern is never cut
    for entry in _scanner(lexicon).entries:
        if kind in (None, entry.kind):
            strength = "" if entry.strength is None else f"{entry.strength:g}"
            table.add_row(entry.kind, strength, escape(entry.pattern), escape(entry.example or ""))
    terminal = render.console()
    if not terminal.is_terminal:
        terminal.width = _WHOLE_LINES
    terminal.print(table)


# Weight from which a reason for or against a refusal is told.
_TOLD = 0.3

_REASONS = {
    "counts": "counts",
    "longer": "a longer phrase of its kind begins here",
    "covered": "a phrase of its kind before it covers it",
    "negation": "no: negated",
    "quotation": "no: quoted",
    "question": "no: in a question",
    "unless_before": "no: the word before it",
    "unless_after": "no: the word after it",
}


@app.command(
    "explain", epilog=render.example('valueattr lexicon explain "I do not think it may rain in May."')
)
def explain(
    text: Annotated[str, typer.Argument(help="The text to look for phrases in.")],
    lexicon: Annotated[
        Path | None,
        typer.Option(help="A TOML file with a lexicon of your own; by default the one that is shipped."),
    ] = None,
) -> None:
    """Show every phrase of the lexicon in a text, and its stance.

    Each phrase comes with the reason why it counts or does not. The stance comes with what speaks for a refusal
    or against it.
    """
    from rich.markup import escape

    table = render.table("at", "phrase", "kind", "pattern", "verdict")
    with render.failures(ValueError):
        phrases = _scanner(lexicon).explain(text)
        stance = _scanner(lexicon).stance(text)
    for phrase in phrases:
        table.add_row(
            f"{phrase.start}-{phrase.end}",
            escape(text[phrase.start : phrase.end]),
            phrase.entry.kind,
            escape(phrase.entry.pattern),
            _REASONS[phrase.verdict],
        )
    console = render.console()
    console.print(table)
    strongest = [
        f"{reason} {weight:+.1f}" for reason, weight in stance.reasons.items() if abs(weight) >= _TOLD
    ]
    render.line(console, f"stance: {stance.stance}")
    render.line(console, f"for a refusal (+) or against it (-): {'; '.join(strongest) or 'nothing'}")


@cache
def _scanner(path: Path | None) -> "HedgeScanner":
    from valueattr.hedging import HedgeScanner, LexiconError

    with render.failures(LexiconError, OSError):
        return HedgeScanner(path, modal=True, stance=True)
