"""Progress of a stage: a bar and a table on a terminal, one line in a notebook, plain lines elsewhere."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

from ffnet_search.errors import printable
from ffnet_search.formatting import for_stream

if TYPE_CHECKING:
    from rich.console import Group

LINE_EVERY_S = 15.0  # between plain lines, where the output is not a terminal
NOTEBOOK_EVERY_S = 0.5
SILENCE_S = 40.0  # after which a stage that prints nothing says that it is in progress
SHORTEST_BAR, LONGEST_BAR = 3, 40  # characters
SHORTEST_LABEL = 7


def say(text: str) -> None:
    """Print one line on standard error: standard output carries results. Control characters are escaped."""
    print(for_stream(printable(text), sys.stderr), file=sys.stderr, flush=True)
    _OPEN.heard = time.monotonic()


class Bar:
    """Progress towards `total`, as plain lines; made by `progress`."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done, self.note = 0, ""
        self.more = 0  # steps beyond the total that may turn out to be needed
        self.facts: Mapping[str, str] = {}
        self.start = self.last_line = time.monotonic()

    def advance(self, steps: int = 1, note: str = "", facts: Mapping[str, str] | None = None) -> None:
        """Add steps. `note` (the current loss, the last file) and `facts`, a table, stay until the next ones."""
        self.done, self.note, self.facts = self.done + steps, note or self.note, facts or self.facts
        self.show()

    def extend(self, steps: int, more: int = 0) -> None:
        """Add steps that turned out to be needed; after them `more` may be."""
        self.total, self.more = self.total + steps, more
        self.show()

    def left(self, done: int, rate: float) -> str:
        """The time left, in words that follow others: `, 3s left`, or `, at most 40s left` with an open end."""
        if not rate or done >= self.total:
            return ""
        return f", {'at most ' if self.more else ''}{clock((self.total + self.more - done) / rate)} left"

    def show(self) -> None:
        """Print a line, unless one was printed recently."""
        now = time.monotonic()
        if now - self.last_line >= LINE_EVERY_S and self.done < self.total:
            self.last_line = now
            say(f"{self.label}: {self.line(now)}")

    def line(self, now: float) -> str:
        """The progress at the time `now` of `time.monotonic`: `4/10 candidates, 2/s, 3s left, best accuracy 0.9`."""
        seconds = now - self.start
        rate = self.done / seconds if seconds > 0 else 0.0
        words = [f"{self.done}/{self.total} {self.unit}, {pace(rate)}{self.left(self.done, rate)}"]
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
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        super().__init__(label, total, unit)
        self.before = done
        self.column, whole = BarColumn(), Column(no_wrap=True)
        label_column = TextColumn("{task.description}", table_column=whole, markup=False)
        words = TextColumn("{task.fields[words]}", table_column=whole, markup=False)
        self.display = Progress(label_column, self.column, words)
        self.task = self.display.add_task(label, total=total, completed=done, words="")

    def show(self) -> None:
        self.display.update(self.task, total=self.total, completed=self.before + self.done)

    def view(self, width: int = 80) -> Group:
        """The bar in a width of characters, with the note and the facts below it; called whenever the screen is drawn.

        Count, rate and time left are never cut: bar and label are as long as they let them."""
        from rich.columns import Columns
        from rich.console import Group
        from rich.markup import escape
        from rich.text import Text

        words = self.words(time.monotonic())
        most = max(SHORTEST_LABEL, width - len(words) - SHORTEST_BAR - 2)
        label = self.label if len(self.label) <= most else f"{self.label[: most - 1]}…"
        room = width - len(label) - len(words) - 2
        self.column.bar_width = max(SHORTEST_BAR, min(LONGEST_BAR, room))
        self.display.update(self.task, description=label, words=words)
        cells = [f"[dim]{escape(name)}[/dim] {escape(fact)}" for name, fact in self.facts.items()]
        below = [Text(self.note, style="dim", no_wrap=True, overflow="ellipsis")] if self.note else []
        table = [Columns(cells, padding=(0, 3))] if cells else []  # in as many rows as the screen's width needs
        return Group(self.display, *below, *table)

    def words(self, now: float) -> str:
        """Count, rate and time: `6/10 candidates, 2/s, 42s, 2s left`."""
        seconds = now - self.start
        done, rate = self.before + self.done, self.done / seconds if seconds > 0 else 0.0
        return f"{done}/{self.total} {self.unit}, {pace(rate)}, {clock(seconds)}{self.left(done, rate)}"


class NotebookBar(Bar):
    """Progress as one line of a notebook's output, which is replaced."""

    shown_at = -math.inf

    def show(self) -> None:
        """Replace the line, at most twice a second."""
        now = time.monotonic()
        if now - self.shown_at >= NOTEBOOK_EVERY_S:
            self.draw(self.line(now))

    def draw(self, words: str) -> None:
        """Replace the previous line."""
        from html import escape

        from IPython.display import HTML, display, update_display

        share = min(1.0, self.done / max(1, self.total))
        first, self.shown_at = self.shown_at == -math.inf, time.monotonic()
        style = "font-family: monospace"
        bar = f'<progress value="{share:.4f}" style="vertical-align: middle"></progress>'
        html = HTML(f'<div style="{style}">{escape(self.label)} {bar} {escape(words)}</div>')
        if first:
            display(html, display_id=str(id(self)))
        else:
            update_display(html, display_id=str(id(self)))

    def close(self) -> None:
        """Leave the last line, with the time that it took."""
        now = time.monotonic()
        self.draw(f"{self.line(now)}, took {clock(now - self.start)}")


@contextmanager
def progress(label: str, total: int, unit: str, done: int = 0) -> Iterator[Bar]:
    """Show `total` steps, of which `done` were made by an earlier run and do not count in the rate."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console
        from rich.live import Live

        bar, console = TerminalBar(label, total, unit, done), Console(stderr=True)
        with _OPEN.holding(bar):
            try:
                with Live(console=console, get_renderable=lambda: bar.view(console.width)):
                    yield bar
            finally:
                console.show_cursor()  # also where a signal cut the end of the display short
    else:
        lines = (NotebookBar if _in_notebook() else Bar)(label, total - done, unit)
        with _OPEN.holding(lines):
            yield lines
        lines.close()


def _in_notebook() -> bool:
    """True if this process is the kernel of a notebook."""
    interactive = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(interactive, "kernel")


class _Open:
    """The bars that are open, in the order of their opening, and when something was printed last."""

    def __init__(self) -> None:
        self.bars: list[Bar] = []
        self.heard = time.monotonic()

    @contextmanager
    def holding(self, bar: Bar) -> Iterator[None]:
        """Count a bar among the open ones within the block: blocks of several threads end in any order."""
        self.bars.append(bar)
        try:
            yield
        finally:
            self.bars.remove(bar)
            self.heard = time.monotonic()

    def speak(self, label: str, start: float) -> None:
        """Print what is in progress, if nothing was printed for long and no bar is on the screen."""
        now, bar = time.monotonic(), self.bars[-1] if self.bars else None
        if now - self.heard < SILENCE_S or isinstance(bar, TerminalBar | NotebookBar):
            return
        say(f"{label}: in progress, {clock(now - start)}" if bar is None else f"{bar.label}: {bar.line(now)}")


_OPEN = _Open()


@contextmanager
def signs_of_life(label: str) -> Iterator[None]:
    """Print a line whenever the block has printed nothing for most of a minute: what is running, and for how long."""
    ended, start = threading.Event(), time.monotonic()

    def speak() -> None:
        while not ended.wait(SILENCE_S / 4):
            _OPEN.speak(label, start)

    thread = threading.Thread(target=speak, name="signs of life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def hushed() -> Iterator[None]:
    """Discard what libraries print within the block, those in C++ too: standard output carries results."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        kept = {number: os.dup(number) for number in (1, 2)}
        try:
            for number in kept:
                os.dup2(nowhere.fileno(), number)
            yield
        finally:
            for number, copy in kept.items():
                os.dup2(copy, number)
                os.close(copy)


def pace(rate: float) -> str:
    """Steps a second: `2.5/s`, `1,234/s`; of steps longer than a second the time of one: `1.2s each`, `3m20s each`."""
    if 0 < rate < 1:
        return f"{1 / rate:.2g}s each" if rate > 0.1 else f"{clock(1 / rate)} each"
    return f"{rate:,.0f}/s" if rate >= 999.5 else f"{rate:.3g}/s"


def clock(seconds: float) -> str:
    """A duration in words: `42s`, `3m20s`, `2h05m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
