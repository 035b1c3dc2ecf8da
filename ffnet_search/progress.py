"""Progress of a stage: a bar and a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Group

LINE_EVERY_S = 15.0  # between plain lines, where the output is not a terminal


def say(text: str) -> None:
    """Print one line on standard error: standard output carries results."""
    print(text, file=sys.stderr, flush=True)


class Bar:
    """Progress towards `total`, as plain lines; made by `progress`."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done, self.note = 0, ""
        self.facts: Mapping[str, str] = {}
        self.start = self.last_line = time.monotonic()

    def advance(self, steps: int = 1, note: str = "", facts: Mapping[str, str] | None = None) -> None:
        """Add steps. `note` (the current loss, the last file) and `facts`, a table, stay until the next ones."""
        self.done, self.note, self.facts = self.done + steps, note or self.note, facts or self.facts
        self.show()

    def show(self) -> None:
        """Print a line, if the last one is long ago."""
        now = time.monotonic()
        if now - self.last_line >= LINE_EVERY_S and self.done < self.total:
            self.last_line = now
            say(f"{self.label}: {self.line(now)}")

    def line(self, now: float) -> str:
        """The progress at the time `now` of `time.monotonic`: `4/10 candidates, 2/s, 3s left, best accuracy 0.9`."""
        seconds = now - self.start
        rate = self.done / seconds if seconds > 0 else 0.0
        left = f", {clock((self.total - self.done) / rate)} left" if rate and self.done < self.total else ""
        words = [f"{self.done}/{self.total} {self.unit}, {rate:.3g}/s{left}"]
        if self.note:
            words.append(self.note)
        words += [f"{name} {fact}" for name, fact in self.facts.items()]
        return ", ".join(words)

    def close(self) -> None:
        """Print the last line, with the time that it took."""
        now = time.monotonic()
        say(f"{self.label}: {self.line(now)}, took {clock(now - self.start)}")


class TerminalBar(Bar):
    """Progress as a bar, with the facts as a table below it, drawn by rich. `done`: steps of an earlier run."""

    def __init__(self, label: str, total: int, unit: str, done: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

        super().__init__(label, total, unit)
        self.before = done
        steps = (BarColumn(), MofNCompleteColumn(), unit, "{task.fields[note]}")
        times = (TimeElapsedColumn(), "left", TimeRemainingColumn())
        self.display = Progress("{task.description}", *steps, *times)
        self.task = self.display.add_task(label, total=total, completed=done, note="")

    def show(self) -> None:
        self.display.update(self.task, completed=self.before + self.done, note=self.note)

    def view(self) -> Group:
        """The bar and the table, asked for as often as the screen is drawn."""
        from rich.columns import Columns
        from rich.console import Group
        from rich.markup import escape

        if not self.facts:
            return Group(self.display)
        seconds = max(1e-9, time.monotonic() - self.start)
        facts = {f"{self.unit}/s": f"{self.done / seconds:.3g}", **self.facts}
        cells = [f"[dim]{name}[/dim] {escape(fact)}" for name, fact in facts.items()]
        return Group(self.display, Columns(cells, padding=(0, 3)))  # in as many rows as the screen's width needs


@contextmanager
def progress(label: str, total: int, unit: str, done: int = 0) -> Iterator[Bar]:
    """Show `total` steps, of which `done` were made by an earlier run and do not count in the rate."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console
        from rich.live import Live

        bar = TerminalBar(label, total, unit, done)
        with Live(console=Console(stderr=True), get_renderable=bar.view):
            yield bar
    else:
        plain = Bar(label, total - done, unit)
        yield plain
        plain.close()


def clock(seconds: float) -> str:
    """A duration in words: `42s`, `3m20s`, `2h05m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
