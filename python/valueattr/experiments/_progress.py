"""How a run says how far it is: to whoever is handed in, by default to the log of `valueattr`."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

_SECONDS_BETWEEN_LINES = 15.0


class Bar(Protocol):
    """One phase under way: `done` of `total` units, with a note on what they are at."""

    total: int

    def update(self, done: int, note: str = "") -> None:
        """Move to `done` of `total`."""


class Progress(Protocol):
    """What a run tells of itself."""

    def say(self, text: str) -> None:
        """Tell one line of text."""

    def phase(self, name: str, total: int, unit: str) -> AbstractContextManager[Bar]:
        """Enter a phase of `total` units; the bar that it gives is moved while the phase lasts."""


def steps_on(bar: Bar) -> Callable[[int, int, float], None]:
    """Shows the steps of a training and their loss."""

    def show(step: int, steps: int, loss: float) -> None:
        bar.total = steps
        bar.update(step, f"loss {loss:.2f}")

    return show


class Lines:
    """Progress as lines of text, one every 15 seconds.

    write: takes each line; by default the log of `valueattr`, at the level INFO.
    """

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        self.say = write or logging.getLogger("valueattr").info

    @contextmanager
    def phase(self, name: str, total: int, unit: str) -> Iterator[Bar]:
        """Enter a phase of `total` units."""
        yield _LineBar(self.say, name, total, unit)


class _LineBar:
    def __init__(self, say: Callable[[str], None], name: str, total: int, unit: str) -> None:
        self._say, self._name, self.total, self._unit = say, name, total, unit
        self._started = self._last = time.perf_counter()

    def update(self, done: int, note: str = "") -> None:
        now = time.perf_counter()
        if now - self._last < _SECONDS_BETWEEN_LINES and done < self.total:
            return
        self._last = now
        rate = done / max(now - self._started, 1e-9)
        left = (self.total - done) / rate if rate else float("inf")
        self._say(
            f"{self._name}: {done}/{self.total} {self._unit}, {rate:.1f}/s, {left:.0f} s left{'; ' + note if note else ''}"
        )


class Timed:
    """Another progress, and the seconds that each phase took."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.seconds: dict[str, float] = {}

    def say(self, text: str) -> None:
        """Tell one line of text."""
        self._progress.say(text)

    @contextmanager
    def phase(self, name: str, total: int, unit: str) -> Iterator[Bar]:
        """Enter a phase of `total` units; its duration is kept in `seconds`."""
        started = time.perf_counter()
        with self._progress.phase(name, total, unit) as bar:
            yield bar
        self.seconds[name] = time.perf_counter() - started
