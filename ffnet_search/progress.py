"""What a person sees while a stage runs: a bar and a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
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
        self.facts: Mapping[str, str] = {}
        self._start = self._last_line = time.monotonic()

    def advance(self, steps: int = 1, note: str = "", facts: Mapping[str, str] | None = None) -> None:
        """`note` stays until the next one: the current loss, the last file. So do `facts`, which make a table."""
        self.done, self.note, self.facts = self.done + steps, note or self.note, facts or self.facts
        now = time.monotonic()
        if now - self._last_line >= LINE_EVERY_S and self.done < self.total:
            self._last_line = now
            say(f"{self.label}: {self.line(now)}")

    def line(self, now: float) -> str:
        seconds = now - self._start
        rate = self.done / seconds if seconds > 0 else 0.0
        left = f", {clock((self.total - self.done) / rate)} left" if rate and self.done < self.total else ""
        words = [self.note] * bool(self.note) + [f"{name} {fact}" for name, fact in self.facts.items()]
        return ", ".join([f"{self.done}/{self.total} {self.unit}, {rate:.3g}/s{left}", *words])

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
    from rich.columns import Columns
    from rich.console import Console, Group
    from rich.live import Live
    from rich.markup import escape
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
        def advance(self, steps: int = 1, note: str = "", facts: Mapping[str, str] | None = None) -> None:
            self.done, self.note, self.facts = self.done + steps, note or self.note, facts or self.facts
            display.update(task, advance=steps, note=self.note)

    def view() -> Group:
        """As often as the screen is drawn, however fast the bar advances."""
        if not bar.facts:
            return Group(display)
        seconds = max(1e-9, time.monotonic() - start)
        facts = {f"{bar.unit}/s": f"{bar.done / seconds:.3g}", **bar.facts}
        cells = [f"[dim]{name}[/dim] {escape(fact)}" for name, fact in facts.items()]
        return Group(display, Columns(cells, padding=(0, 3)))  # as many rows as the screen's width asks for

    console, start, bar = Console(stderr=True), time.monotonic(), TerminalBar(label, total, unit)
    display = Progress(*columns, console=console)
    task = display.add_task(label, total=total, completed=done, note="")
    with Live(console=console, get_renderable=view):
        yield bar


def clock(seconds: float) -> str:
    """`42s`, `3m20s`, `2h05m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
