"""The latency tables of a run, one per device: what they say an architecture costs, and whether they still hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ffnet_search.config.schema import LatencySection
from ffnet_search.config.sweep import Sweep
from ffnet_search.latency.table import LatencyTable
from ffnet_search.space.cost_model import CostModel


def cost_model(sweep: Sweep, *, measured_only: bool = False) -> CostModel:
    """The costs of architectures by the run's latency tables. Raises SweepError for a missing table, but leaves it out
    if `measured_only`."""
    paths = {device.name: sweep.files.latency_table(device) for device in sweep.searched_devices}
    tables = {name: LatencyTable.load(path) for name, path in paths.items() if path.exists() or not measured_only}
    return CostModel(
        tables.get(sweep.latency[0].name), {name: tables[name] for name in sweep.search.device_names if name in tables}
    )


def check_tables(sweep: Sweep, check: Callable[[LatencyTable, LatencySection, Path], object]) -> None:
    """Call `check` with each latency table of the search that was measured; what it raises is raised."""
    for device in sweep.searched_devices:
        path = sweep.files.latency_table(device)
        if path.exists():
            check(LatencyTable.load(path), device, path)


def refuse_stale_tables(sweep: Sweep) -> None:
    """Raise SweepError for a table that is no longer true of its device."""
    if sweep.search_space.is_elastic:
        from ffnet_search.latency.ray_bench import make_bench
        from ffnet_search.latency.validation import refuse_stale

        check_tables(sweep, partial(refuse_stale, make_bench=make_bench))
