"""Lines and tables on standard output.

A table that is too wide loses whole columns, the last ones first: no number is cut and no key is folded. Away from a
terminal, where users search and copy, nothing is folded either, and only details are left out.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import IO, Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.theme import Theme

from ffnet_search.errors import printable
from ffnet_search.formatting import broken, for_stream

Kind = Literal["number", "key", "words"]
TITLE_WIDTH = 14  # characters of a line of a title above numbers
FOLDED = 40  # characters that a word, such as a path, keeps in a column of words
LINES = 3  # into which a cell of words is folded, at most
GAP = 2  # blanks between columns
PIPED = 120  # characters of a table with its details away from a terminal, where COLUMNS does not say it
UNLIMITED = 10_000
# Roles and their styles; rich leaves the colours out where NO_COLOR is set, and all where TERM is dumb.
ROLES: Mapping[str, str] = {"title": "bold", "chosen": "bold green", "aside": "dim", "error": "bold red"}


@dataclass(frozen=True)
class Column:
    """A column of a table. Numbers are never cut. A key is neither cut nor dropped. Words are folded. A detail is
    dropped away from a terminal too. Control characters of untrusted names are escaped, but for line ends in the
    title."""

    title: str
    cells: Sequence[str]
    kind: Kind = "number"
    is_detail: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", [printable(cell) for cell in self.cells])
        object.__setattr__(self, "title", "\n".join(map(printable, self.title.split("\n"))))

    @cached_property
    def heading(self) -> list[str]:
        """The lines of the title."""
        lines = self.title.split("\n")
        return lines if self.kind == "words" else [one for line in lines for one in textwrap.wrap(line, TITLE_WIDTH)]

    @cached_property
    def width(self) -> int:
        """The characters of the longest cell."""
        return max(map(cell_len, [*self.heading, *self.cells]), default=0)

    @cached_property
    def least(self) -> int:
        """The characters below which the column is dropped."""
        if self.kind != "words":
            return self.width
        words = ["", *(word for text in [*self.heading, *self.cells] for word in broken(text, 1).split("\n"))]
        return min(FOLDED, max(self.width // LINES, *map(cell_len, words)))


@dataclass(frozen=True)
class Grid:
    """A table: its columns in order of importance, and the rows that are marked as chosen. `whole`: no column is
    dropped; words get narrow instead, and long ones are folded."""

    columns: Sequence[Column]
    chosen: frozenset[int] = field(default=frozenset())
    whole: bool = False

    @property
    def width(self) -> int:
        """The characters of the table with all of its columns, none folded."""
        return sum(column.width + GAP for column in self.columns) - GAP

    def least(self, column: Column, width: int) -> int:
        """The characters below which a column is dropped from a table of such a width."""
        share = (width - GAP * (len(self.columns) - 1)) // len(self.columns)
        return min(column.least, share) if self.whole and column.kind == "words" else column.least

    def within(self, width: int) -> tuple[list[Column], list[Column]]:
        """The columns that fit into so many characters, in order, and the others."""
        left = width - sum(self.least(column, width) + GAP for column in self.columns if column.kind == "key") + GAP
        kept, dropped = [], []
        for column in self.columns:
            if column.kind == "key":
                kept.append(column)
            elif self.least(column, width) + GAP <= left:
                kept.append(column)
                left -= self.least(column, width) + GAP
            else:
                dropped.append(column)
        return kept, dropped

    def unfolded(self, width: int) -> tuple[Grid, list[Column]]:
        """The table away from a terminal, without the details that do not fit into so many characters, and these."""
        left, dropped = width - replace(self, columns=[one for one in self.columns if not one.is_detail]).width, []
        for column in self.columns:
            if column.is_detail and column.width + GAP > left:
                dropped.append(column)
            elif column.is_detail:
                left -= column.width + GAP
        return replace(self, columns=[column for column in self.columns if column not in dropped]), dropped

    def drawn(self, width: int) -> tuple[Table, int, list[Column]]:
        """The table for a width in characters, its own width, and the columns that were dropped."""
        kept, dropped = self.within(width)
        spare = width - sum(self.least(column, width) + GAP for column in kept) + GAP
        table = Table(box=None, pad_edge=False, header_style=ROLES["title"], padding=(0, GAP, 0, 0))
        total = -GAP
        for column in kept:
            least = self.least(column, width)
            given = min(column.width, least + max(0, spare))
            spare -= given - least
            total += given + GAP
            justify: Literal["right", "left"] = "right" if column.kind == "number" else "left"
            title = "\n".join(column.heading)
            table.add_column(title, justify=justify, overflow="fold", width=given, no_wrap=column.kind != "words")
        for index in range(len(kept[0].cells) if kept else 0):
            style = ROLES["chosen"] if index in self.chosen else None
            cells = (
                broken(column.cells[index], int(drawn.width or 1)) if column.kind == "words" else column.cells[index]
                for column, drawn in zip(kept, table.columns, strict=True)
            )
            table.add_row(*cells, style=style)
        return table, total, dropped


def make_table(titles: Sequence[str], rows: Sequence[Sequence[str]], right: int = 0, left: int = 1) -> Grid:
    """A table with `right` columns of numbers after `left` columns of words."""
    cells = [[row[index] for row in rows] for index in range(len(titles))]
    kinds: list[Kind] = ["number" if left <= index < left + right else "words" for index in range(len(titles))]
    return Grid([Column(*column) for column in zip(titles, cells, kinds, strict=True)])


def print_path(path: object) -> None:
    """Print a path or an address on standard output, on a line that is not broken at its blanks."""
    _console(sys.stdout).print(printable(str(path)), soft_wrap=True)


def print_plain(content: str | Grid, role: str = "") -> None:
    """Print a line or a table on standard output. A terminal gets a long line broken at blanks. COLUMNS, where it is
    set, is the width of tables, away from a terminal too."""
    if isinstance(content, str):
        line = for_stream(printable(content), sys.stdout)
        _console(sys.stdout).print(line, style=ROLES.get(role), soft_wrap=True)
        return
    is_terminal = sys.stdout.isatty()
    if is_terminal or _columns_given():
        width = _console(sys.stdout).width
        table, total, dropped = content.drawn(width)
    else:
        width = PIPED
        kept, dropped = content.unfolded(width)
        table, total, _ = kept.drawn(UNLIMITED)
    if is_terminal:
        _console(sys.stdout, max(width, total)).print(table)
    else:
        _print_bare(table, total)
    if dropped:
        names = ", ".join(" ".join(column.heading) for column in dropped)
        more = "" if is_terminal else f"; set COLUMNS to {content.width} for all"
        print_plain(f"not shown in {width} columns: {names}{more}", role="aside")


def _print_bare(table: Table, width: int) -> None:
    """Print a table without blanks at the ends of its lines."""
    console = _console(sys.stdout, width)
    with console.capture() as drawn:
        console.print(table)
    print("\n".join(map(str.rstrip, drawn.get().splitlines())))


def print_error(message: str) -> None:
    """Print a line on standard error, in the colour of errors on a terminal."""
    _console(sys.stderr).print(for_stream(printable(message), sys.stderr), style=ROLES["error"], soft_wrap=True)


def _columns_given() -> bool:
    """True if the environment says how wide tables are."""
    return os.environ.get("COLUMNS", "").strip("0").isdecimal()


def _console(file: IO[str], width: int | None = None) -> Console:
    if width is None and not file.isatty() and not _columns_given():
        width = PIPED  # of 0 columns rich prints nothing
    return Console(file=file, highlight=False, markup=False, emoji=False, theme=Theme({}), width=width)
