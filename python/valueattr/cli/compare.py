"""`valueattr compare`: two runs held against each other, paired by seed, fact and wording."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valueattr.cli import render

if TYPE_CHECKING:
    from valueattr.plan import Comparison

app = typer.Typer()

_COLUMNS = (
    "arm",
    "measure",
    "split",
    "first",
    "second",
    "second - first",
    "over subjects",
    "p (Holm)",
    "p (equivalence)",
    "seeds",
    "facts",
)


@app.command(epilog=render.example("valueattr compare runs/before runs/after"))
def compare(
    first: Annotated[Path, typer.Argument(help="The run directory that the other one is compared with.")],
    second: Annotated[Path, typer.Argument(help="The run directory that is compared with the first one.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON for machines at the end.")
    ] = False,
) -> None:
    """Compare two finished runs, paired by seed, fact and wording.

    The arms that both have are compared on what the first run's plan reads, at the end of training.
    """
    from valueattr.plan import NothingSharedError, Plan, differing
    from valueattr.plan import compare as compared
    from valueattr.results import RunDirectory, RunDirectoryError

    with render.failures(RunDirectoryError, NothingSharedError, OSError):
        runs = [RunDirectory(path) for path in (first, second)]
        plans = [Plan.read(run) for run in runs]
        subjects = runs[0].subjects | runs[1].subjects
        one, other = (run.table("measures") for run in runs)
        found = compared(plans[0], one, other, subjects)
    console = render.console(errors=as_json)
    for name, *values in differing(*plans):
        render.line(console, render.shown(f"The runs differ in {name}: {' and '.join(values)}"))
    table = render.table(*_COLUMNS, wrap=False)
    for c in found:
        bootstrap = f"[{c.bootstrap.low:+.3f}, {c.bootstrap.high:+.3f}]" if c.bootstrap else "–"
        over_seeds = f" [{c.interval.low:+.3f}, {c.interval.high:+.3f}]" if c.interval else ""
        p_values = ("–" if p is None else f"{p:.3f}" for p in (c.p_holm, c.p_equivalence))
        levels = f"{c.first:.3f}", f"{c.second:.3f}", f"{c.estimate:+.3f}{over_seeds}"
        counts = str(len(c.differences)), str(c.facts)
        table.add_row(*map(render.cell, (c.arm, c.measure, c.split, *levels, bootstrap, *p_values, *counts)))
    console.print(table)
    render.line(
        console,
        "Means at the end of training. In brackets behind a difference: its 95% t interval over seeds, or over start models "
        "that these share. 'Over subjects' is a 95% bootstrap interval, the seeds being given. The p values are of t tests "
        "and of two one-sided tests against the smallest effect that the first plan declares, each adjusted over this table.",
        style="dim",
    )
    if as_json:
        render.as_json({"compared": [_row(c) for c in found]})


def _row(c: "Comparison") -> dict[str, object]:
    return {
        "arm": c.arm,
        "measure": c.measure,
        "split": c.split,
        "first": c.first,
        "second": c.second,
        "difference": c.estimate,
        "differences": c.differences,
        "facts": c.facts,
        "p": c.p,
        "p_holm": c.p_holm,
        "p_equivalence": c.p_equivalence,
    }
