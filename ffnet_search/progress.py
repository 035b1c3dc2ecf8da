"""What a person sees while a stage runs: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

LINE_EVERY_S = 15.0  # between plain lines, where the output is not a terminal


def say(text: str) -> None:
    """One line to the person, on standard error: standard output carries results."""
    print(text, file=sys.stderr, flush=True)


class Bar:
    """Advances towards `total`; made by `progress`."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done, self.note = 0, ""
        self._start = self._last_line = time.monotonic()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """`note` stays until the next one: the current loss, the best candidate."""
        self.done, self.note = self.done + steps, note or self.note
        now = time.monotonic()
        if now - self._last_line >= LINE_EVERY_S and self.done < self.total:
            self._last_line = now
            say(f"{self.label}: {self.line(now)}")

    def line(self, now: float) -> str:
        seconds = now - self._start
        rate = self.done / seconds if seconds > 0 else 0.0
        left = f", {clock((self.total - self.done) / rate)} left" if rate and self.done < self.total else ""
        note = f", {self.note}" if self.note else ""
        return f"{self.done}/{self.total} {self.unit}, {rate:.3g}/s{left}{note}"

    def close(self) -> None:
        now = time.monotonic()
        say(f"{self.label}: {self.line(now)}, took {clock(now - self._start)}")


@contextmanager
def progress(label: str, total: int, unit: str, done: int = 0) -> Iterator[Bar]:
    """A bar for `total` steps of which `done` were made by an earlier run (they do not count in the rate)."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with _terminal_bar(label, total, unit, done) as bar:
            yield bar
    else:
        bar = Bar(label, total - done, unit)
        yield bar
        bar.close()


@contextmanager
def _terminal_bar(label: str, total: int, unit: str, done: int) -> Iterator[Bar]:
    from rich.console import Console
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
        TextColumn(unit),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )

    class TerminalBar(Bar):
        def advance(self, steps: int = 1, note: str = "") -> None:
            self.done, self.note = self.done + steps, note or self.note
            display.update(task, advance=steps, note=self.note)

    with Progress(*columns, console=Console(stderr=True)) as display:
        task = display.add_task(label, total=total, completed=done, note="")
        yield TerminalBar(label, total, unit)


def clock(seconds: float) -> str:
    """`42s`, `3m20s`, `2h05m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
