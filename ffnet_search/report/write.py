"""The run to look at: `report.html`, one file that needs no network, `front.png`, and what Optuna Dashboard tells."""

from __future__ import annotations

from pathlib import Path

from ffnet_search.config.sweep import Sweep
from ffnet_search.export.exported import read_exported
from ffnet_search.latency.table import LatencyTable
from ffnet_search.report.data import content
from ffnet_search.report.front_png import as_png, draw_front
from ffnet_search.report.notes import annotate_study
from ffnet_search.report.page import page
from ffnet_search.report.plain import plain_page
from ffnet_search.search.history import read_history


def write_report(sweep: Sweep) -> Path:
    """Writes `front.png` and `report.html` of a run whose front is exported; returns the report's path."""
    objectives = [sweep.search.metric(name) for name in sweep.search.objectives]
    history = read_history(sweep.files.study, sweep.search_space, objectives)
    picks = read_exported(sweep.files)
    sweep.files.front_png.write_bytes(as_png(draw_front(sweep, history.evaluated, picks)))
    if not sweep.uses_latency_tables:
        sweep.files.report.write_text(plain_page(sweep, history, picks), encoding="utf-8")
        return sweep.files.report
    table = LatencyTable.load(sweep.latency_path)
    devices = {
        str(section.name): LatencyTable.load(path)
        for section in sweep.latency[1:]
        if (path := sweep.files.latency_table(section)).exists()
    }
    shown = content(sweep, history, picks, table, devices)
    sweep.files.report.write_text(page(sweep, history, picks, table, shown, list(devices)), encoding="utf-8")
    return sweep.files.report


__all__ = ["annotate_study", "write_report"]
