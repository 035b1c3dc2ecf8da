"""Step `latency`: the latency table of this device, with its held-out error."""

from __future__ import annotations

from ffnet_search.latency.build import profile
from ffnet_search.latency.table import LatencyTable
from gpu_steps.run import Rows, Run


def measure(run: Run) -> Rows:
    """The latency table of this device, measured in this process."""
    if not run.table.exists():
        profile(run.space, run.section, run.table)
    table = LatencyTable.load(run.table)
    seconds = f"{table.setting.build_seconds:.0f} s"
    return [
        (
            f"latency table of {run.space.name}, {run.section.init_args['mode']}: held out; time",
            f"{table.error}; {seconds}",
        )
    ]
