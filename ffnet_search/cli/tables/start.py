"""The first sweep that `init` has written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ffnet_search.cli.printing import make_table, print_path, print_plain
from ffnet_search.formatting import quoted

if TYPE_CHECKING:
    from ffnet_search.autoconfig.start import Started


def print_start(started: Started) -> None:
    """The images, the files that `init` wrote, the cost of a run, and the next command."""
    for line in started.lines:
        print_plain(line)
    for path in started.files:
        print_path(f"wrote {path}")
    if started.minutes:
        rows = [[stage, f"{minutes:.1f}"] for stage, minutes in started.minutes.items()]
        print_plain(make_table(["stage", "minutes"], [*rows, ["all", f"{sum(started.minutes.values()):.1f}"]], right=1))
    print_plain(f"next: ffnet-search run {quoted(started.sweep)}")
