"""A latency table: how it was measured, and how well it predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ffnet_search.cli.printing import make_table, print_plain
from ffnet_search.formatting import figure, plural

if TYPE_CHECKING:
    from ffnet_search.latency.table import LatencyTable


def print_latency(table: LatencyTable) -> None:
    """The setting of a latency table, its held-out error, and the networks that it predicts worst."""
    setting = table.setting
    content = plural(len(table.held_out), "network") if table.is_exact else f"{len(table.entries)} parts"
    print_plain(f"latency table {table.name}: {content}, {setting.date}")
    print_plain(
        f"{setting.device}; {setting.backend}, {plural(setting.threads, 'thread')}, batch {setting.batch_size}, "
        f"{setting.dtype}, {setting.clock}"
    )
    print_plain(f"versions: {', '.join(f'{name} {version}' for name, version in setting.versions.items())}")
    print_plain(f"{'error' if table.is_exact else 'held out'}: {table.error}")
    rows = [
        [check.architecture.key, figure(check.measured_ms), figure(check.predicted_ms), f"{check.error:+.1%}"]
        for check in table.worst
    ]
    titles = (
        ["network", "again ms", "table ms"] if table.is_exact else ["held-out network", "measured ms", "predicted ms"]
    )
    print_plain(make_table([*titles, "error"], rows, right=3))
