"""A trial that was repeated, beside what it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ffnet_search.cli.printing import make_table, print_plain

if TYPE_CHECKING:
    from ffnet_search.run.rerun import Rerun


def print_rerun(rerun: Rerun) -> None:
    """A trial's metrics then and now."""
    print_plain(f"trial {rerun.number}, {rerun.configuration.key}: {rerun.configuration}")
    if any(rerun.reasons):
        for time, reason in zip(("then", "now"), rerun.reasons, strict=True):
            print_plain(f"{time}: {reason or 'no failure'}")
    rows = [[name, f"{x:.6g}", f"{y:.6g}", f"{y - x:+.3g}"] for name, (x, y) in rerun.metrics.items()]
    if rows:
        print_plain(make_table(["metric", "then", "now", "difference"], rows, right=3))
    for words in rerun.changed:
        print_plain(f"differs from then: {words}")
