"""The report of a run: `report.html`, one file that needs no network, and `front.png`."""

from __future__ import annotations

from pathlib import Path

from ffnet_search.atomic_write import write_bytes, write_text
from ffnet_search.config.sweep import Sweep
from ffnet_search.export.exported import read_exported
from ffnet_search.latency.table import LatencyTable
from ffnet_search.report.data import Run
from ffnet_search.report.front_png import as_png, draw_front
from ffnet_search.report.page import page
from ffnet_search.search.history import read_history


def write_report(sweep: Sweep) -> Path:
    """Write `front.png` and `report.html` of a run whose front is exported; return the path of the report."""
    run = read_run(sweep)
    write_bytes(sweep.files.front_png, as_png(draw_front(run)))
    write_text(sweep.files.report, page(run))
    return sweep.files.report


def read_run(sweep: Sweep) -> Run:
    """Read the history, the exported networks and the latency tables of a run. Raises SweepError."""
    objectives = [sweep.search.metric(name) for name in sweep.search.objectives]
    history = read_history(sweep.files.study, sweep.search_space, objectives)
    exported = read_exported(sweep.files)
    if not sweep.uses_latency_tables:
        return Run(sweep, history, exported)
    devices = {}
    for section in sweep.latency[1:]:
        path = sweep.files.latency_table(section)
        if path.exists():
            devices[str(section.name)] = LatencyTable.load(path)
    return Run(sweep, history, exported, LatencyTable.load(sweep.latency_path), devices)
