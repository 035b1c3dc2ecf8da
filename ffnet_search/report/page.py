"""The report: one HTML file that needs no network, beside an image of its front.

The values of its sections are collected here, `page.html.j2` writes them, `page.js` draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ffnet_search.atomic_write import write_bytes, write_text
from ffnet_search.config.named_metrics import ranking
from ffnet_search.config.retraining import retraining_of
from ffnet_search.config.sweep import Sweep
from ffnet_search.export.answer import ranked_on
from ffnet_search.export.groups import WORDS as GROUP_WORDS
from ffnet_search.formatting import plural
from ffnet_search.latency.table import LatencyTable
from ffnet_search.latency.timing import SHARED_RATIO
from ffnet_search.metrics import JUDGED
from ffnet_search.report.data import Run, front_columns, read_run, script_data
from ffnet_search.report.fidelity import fidelity_section
from ffnet_search.report.front_image import as_png, draw_front
from ffnet_search.report.headline import headline_of
from ffnet_search.report.learning_curves import curve_chart
from ffnet_search.report.network_card import network_card
from ffnet_search.report.origin import origin
from ffnet_search.report.retrained import retrained_of
from ffnet_search.report.tables import Record, class_tables, output_table, records_table, yardstick_table
from ffnet_search.report.templates import load_template, unbroken

TOP_AXES = 12  # of the importances: the others hardly matter
LISTED_TRIALS = 50  # trials that are listed: candidates.csv has all


def write_report(sweep: Sweep) -> Path:
    """Write `front.png` and `report.html` of a run whose front is exported; return the path of the report."""
    run = read_run(sweep)
    write_bytes(sweep.files.front_png, as_png(draw_front(run)))
    write_text(sweep.files.report, page(run))
    return sweep.files.report


def page(run: Run) -> str:
    """The HTML of the report. Links lead to files beside it, and nowhere else."""
    here, sweep, history = files(__package__), run.sweep, run.history
    path = sweep.files.sweep
    html = load_template("page.html.j2").render(
        name=sweep.name,
        css=Markup((here / "page.css").read_text(encoding="utf-8")),
        js=Markup((here / "page.js").read_text(encoding="utf-8")),
        history=history,
        reference=[f"{run.metric(name).phrase} {run.metric(name).format(x)}" for name, x in history.reference.items()],
        exported=run.exported,
        front_png=sweep.files.front_png.name,
        candidates_csv=sweep.files.candidates.name,
        task=run.task,
        quality=run.task.quality,
        ranked_by=ranking(sweep),
        costs=run.costs,
        curves=curve_chart(history, run.metric(history.curved), run.label(history.curved)),
        importances={run.metric(name).phrase: shares for name, shares in history.importances.items() if shares},
        top_axes=TOP_AXES,
        fidelity=None if run.fidelity is None else fidelity_section(run.fidelity),
        skipped=list(_infeasible_counts(run)),
        facts=list(origin(run)),
        retraining=retraining_of(sweep),
        retrained=retrained_of(run),
        folds=sweep.export.folds,
        ranked_on=JUDGED[ranked_on(run.exported, ranking(sweep))],
        sweep_text=path.read_text(encoding="utf-8") if path.exists() else "",
        **_sections(run),
    )
    return unbroken(html)


def _sections(run: Run) -> dict[str, Any]:
    """The values of the sections that depend on whether the search has latency."""
    if run.table is not None:
        networks = [network_card(run, network) for network in run.exported]
        classes = {"output_table": output_table(run), "quality_note": _quality_note(run), **class_tables(run)}
        return {"latency": _latency(run, run.table), "networks": networks, **classes}
    objectives = [run.metric(name) for name in run.sweep.search.objectives]
    first = objectives[0]
    best = sorted(
        run.history.evaluated, key=lambda candidate: [one.sign * candidate.metrics[one.key] for one in objectives]
    )[:LISTED_TRIALS]
    exported: list[Record] = [
        (one.folder.name, f"pareto/{one.folder.name}/", {**one.metrics, **one.hyperparameters}) for one in run.exported
    ]
    trials: list[Record] = [(one.key, "", {**one.metrics, **one.final_hyperparameters}) for one in best]
    tables = {"exported_table": records_table("network", exported), "best_table": records_table("trial", trials)}
    return {"latency": None, "first": first.key, **tables}


def _latency(run: Run, table: LatencyTable) -> dict[str, Any]:
    """The values of the sections on latency: the headline, the budget, the table of the front and its charts."""
    history, space = run.history, run.sweep.search_space
    count = f"{len(history.evaluated):,}"
    searched = f"{count} architectures of {space.size:,} were evaluated."
    if space.hyperparameters:
        searched = f"{count} networks were trained to the end, in a space of {space.size:,} architectures."
    contention = table.setting.contention
    return {
        "searched": searched,
        "headline": headline_of(run),
        "yardstick": yardstick_table(run),
        "groups": GROUP_WORDS if any(run.groups.values()) else "",
        "device": table.setting.device,
        "budget": _budget(run),
        "batch_size": table.setting.batch_size,
        "columns": front_columns(run.sweep, run.exported),
        "error": str(table.error),
        "contention": f"{contention:.1f}" if contention > SHARED_RATIO else "",
        "script_data": script_data(run),
    }


def _budget(run: Run) -> dict[str, str]:
    """The range of the budget's slider in milliseconds, and its start: the limit of the search, within that range."""
    times = [network.metrics["measured_ms"] for network in run.exported]
    low, high = min(times), max(times)
    limit = run.sweep.search.constraints.get("latency_ms", high * 1.001)
    start = min(max(limit, low), high * 1.05)
    return {"low": f"{low:.6g}", "high": f"{high * 1.05:.4g}", "start": f"{start:.6g}"}


def _quality_note(run: Run) -> str:
    """The task's remark on the quality of the exported networks; empty if no FFNet is exported."""
    network = run.exported[0].architecture if run.exported else None
    return "" if network is None else run.task.quality_note(network.input.outputs)


def _infeasible_counts(run: Run) -> Iterator[str]:
    """The number of architectures beyond each limit."""
    for name, count in run.history.infeasible.items():
        metric = run.metric(name)
        limit = f"{run.sweep.search.constraints[name]:g} {metric.unit}".rstrip()
        yield f"{plural(count, 'architecture')} beyond {metric.phrase} {metric.relation} {limit}"
