"""What the command line prints: tables, progress, JSON and failures.

Rich is imported where something is drawn with it.
"""

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    import rich.progress
    from rich.console import Console
    from rich.table import Table

    from valueattr.experiments import Bar
    from valueattr.experiments import Progress as RunProgress

FAILED = 1
BAD_USAGE = 2

# Where there is no terminal, and so no width.
_WIDTH = 120

# What steers a terminal, ends a line or turns its direction, and halves of characters.
_STEERS = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def example(command: str) -> str:
    """The end of a command's help: a line to copy, which is not broken."""
    return f"\b\nExample: {command}"


def console(*, errors: bool = False) -> "Console":
    """What people read, on standard output, or on standard error where standard output is for machines."""
    from rich.console import Console

    terminal = Console(stderr=errors)
    return terminal if terminal.is_terminal else Console(stderr=errors, width=_WIDTH)


def table(*columns: str, numbers: Sequence[str] = (), wrap: bool = True, dense: bool = False) -> "Table":
    """An empty table with these columns, which fits any terminal.

    numbers: those of the columns that are right-aligned and never wrapped. dense: with little space between columns.
    """
    from rich.box import SIMPLE

    from valueattr.cli.narrow import FittingTable

    lines = FittingTable(
        box=SIMPLE,
        header_style="bold",
        pad_edge=False,
        show_edge=not dense,
        padding=(0, 1, 0, 0) if dense else (0, 1),
    )
    for name in columns:
        is_number = name in numbers
        lines.add_column(name, justify="right" if is_number else "left", no_wrap=is_number or not wrap)
    return lines


def shown(text: str) -> str:
    """Text from a file with what would steer a terminal written as escapes."""
    return _STEERS.sub(lambda found: ascii(found[0])[1:-1], text)


def cell(text: str) -> str:
    """Text from a file as the cell of a table, in which brackets are no markup."""
    from rich.markup import escape

    return escape(shown(text))


def as_json(value: object) -> None:
    """Print one line of JSON."""
    typer.echo(json.dumps(value))


def warn(text: str) -> None:
    """Print a line about something that went on all the same."""
    _to_errors(text, typer.colors.YELLOW)


def wrong(text: str) -> None:
    """Print a line about something that is wrong."""
    _to_errors(text, typer.colors.RED)


def _to_errors(text: str, colour: str) -> None:
    # Click does not know https://no-color.org; None leaves the choice to it.
    typer.secho(text, fg=colour, err=True, color=False if os.environ.get("NO_COLOR") else None)


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Print what failed and end with an exit code."""
    wrong(f"valueattr: {message}")
    raise typer.Exit(code)


@contextmanager
def failures(
    *expected: type[Exception], hints: Mapping[type[Exception], str] | None = None
) -> Iterator[None]:
    """End with a message where one of these errors is raised; `hints` says which option helps against which."""
    try:
        yield
    except expected as error:
        helps = [hint for kind, hint in (hints or {}).items() if isinstance(error, kind)]
        fail("\n".join([str(error), *helps]))


@contextmanager
def counted(unit: str, total: int | None) -> Iterator[Callable[[int, int], None] | None]:
    """On a terminal, a bar with rate and time left, which is told how many are done of how many; else nothing."""
    terminal = console(errors=True)
    if not terminal.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    rate = TextColumn(f"{unit}, {{task.fields[rate]}}/s")
    with _bars(terminal, BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn()) as bars:
        task = bars.add_task(unit, total=total, rate=0)

        def show(done: int, of: int) -> None:
            speed = bars.tasks[0].speed or 0.0
            bars.update(
                task, completed=done, total=of, rate=f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"
            )

        yield show


@contextmanager
def scanned(size: int) -> Iterator[Callable[[int, int], None] | None]:
    """On a terminal, a bar over bytes, which is told the bytes read and the texts scanned; else nothing."""
    terminal = console(errors=True)
    if not terminal.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    texts = TextColumn("{task.fields[documents]:,} texts")
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(), texts)
    with _bars(terminal, *columns) as bars:
        task = bars.add_task("scan", total=size or None, documents=0)
        yield lambda read, documents: bars.update(task, completed=read, documents=documents)


def _bars(terminal: "Console", *columns: "rich.progress.ProgressColumn") -> "rich.progress.Progress":
    """Bars that leave nothing behind."""
    from rich.progress import Progress

    return Progress(*columns, console=terminal, transient=True)


def run_progress(terminal: "Console") -> "RunProgress":
    """How far a run is: bars on a terminal, and lines in a pipe."""
    from valueattr.experiments import Lines

    return _Bars(terminal) if terminal.is_terminal else Lines(lambda text: line(terminal, text))


def line(terminal: "Console", text: str, style: str | None = None) -> None:
    """Print text as it is, without colouring numbers, breaking lines or reading brackets as markup."""
    terminal.print(text, style=style, highlight=False, soft_wrap=True, markup=False)


class _Bars:
    """The progress of a run on a terminal; the bar of a phase stays when the phase is over."""

    def __init__(self, terminal: "Console") -> None:
        self._terminal = terminal

    def say(self, text: str) -> None:
        line(self._terminal, text)

    @contextmanager
    def phase(self, name: str, total: int, unit: str) -> Iterator["Bar"]:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit + " {task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._terminal) as bars:
            yield _MovingBar(bars, bars.add_task(name, total=total, rate=""), total)


class _MovingBar:
    def __init__(self, bars: "rich.progress.Progress", task: "rich.progress.TaskID", total: int) -> None:
        self._bars, self._task, self.total = bars, task, total
        self._started = time.perf_counter()

    def update(self, done: int, note: str = "") -> None:
        rate = done / max(time.perf_counter() - self._started, 1e-9)
        self._bars.update(self._task, total=self.total, completed=done, rate=f"({rate:.1f}/s) {note}")
