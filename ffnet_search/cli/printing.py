"""Lines and tables on standard output."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from ffnet_search.errors import printable

TITLE_WIDTH = 14  # characters of a line of a title above numbers


def make_table(titles: Sequence[str], rows: Sequence[Sequence[str]], right: int = 0, left: int = 1) -> Table:
    """A table with `right` columns of numbers after `left` columns of words."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for index, title in enumerate(titles):
        if left <= index < left + right:
            title = "\n".join(textwrap.wrap(title, TITLE_WIDTH))
            table.add_column(title, justify="right", no_wrap=True)
        else:
            table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*map(printable, row))  # names of strangers are no commands to the terminal
    return table


def print_plain(content: str | Table) -> None:
    """Print a line or a table on standard output."""
    # Away from a terminal nothing is cut or wrapped: users search and copy it.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 250)
    console.print(printable(content) if isinstance(content, str) else content, soft_wrap=isinstance(content, str))
