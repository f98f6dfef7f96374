"""Progress on the terminal: a bar with rate and time left, or plain lines where nobody watches."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_SECONDS_BETWEEN_LINES = 15.0


class Display:
    """Says what is going on; bars move in place on a terminal and are lines in a pipe."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.seconds: dict[str, float] = {}

    def say(self, text: str) -> None:
        """Print one line."""
        self.console.print(text, highlight=False, soft_wrap=True)

    @contextmanager
    def phase(self, name: str, total: int, unit: str) -> Iterator["Bar"]:
        """A phase of `total` units with its own bar; its duration is kept in `seconds`."""
        started = time.perf_counter()
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(unit + " {task.fields[rate]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=self.console) as progress:
                yield _MovingBar(progress, progress.add_task(name, total=total, rate=""), total)
        else:
            yield _Lines(self, name, total, unit)
        self.seconds[name] = time.perf_counter() - started


class Bar(Protocol):
    """What a phase moves: `done` units so far, with a note on what they are at."""

    total: int

    def update(self, done: int, note: str = "") -> None:
        """Move to `done` of `total`."""


class _MovingBar:
    def __init__(self, progress: Progress, task: TaskID, total: int) -> None:
        self._progress, self._task, self.total = progress, task, total
        self._started = time.perf_counter()

    def update(self, done: int, note: str = "") -> None:
        rate = done / max(time.perf_counter() - self._started, 1e-9)
        self._progress.update(self._task, total=self.total, completed=done, rate=f"({rate:.1f}/s) {note}")


class _Lines:
    def __init__(self, display: Display, name: str, total: int, unit: str) -> None:
        self._display, self._name, self.total, self._unit = display, name, total, unit
        self._started = self._last = time.perf_counter()

    def update(self, done: int, note: str = "") -> None:
        now = time.perf_counter()
        if now - self._last < _SECONDS_BETWEEN_LINES and done < self.total:
            return
        self._last = now
        rate = done / max(now - self._started, 1e-9)
        left = (self.total - done) / rate if rate else float("inf")
        self._display.say(
            f"{self._name}: {done}/{self.total} {self._unit}, {rate:.1f}/s, {left:.0f} s left{'; ' + note if note else ''}"
        )
