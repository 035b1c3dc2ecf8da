"""The report: one HTML file that needs no network, beside an image of its front.

Facts and tables are prepared here, `page.html.j2` writes them, `page.js` draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ffnet_search.atomic_write import write_bytes, write_text
from ffnet_search.config.named_metrics import ranking
from ffnet_search.config.retraining import retraining_of
from ffnet_search.config.sweep import Sweep
from ffnet_search.config.warm_start import trial_epochs
from ffnet_search.export.answer import ranked_on
from ffnet_search.export.class_table import CLASS_TITLES, class_rows
from ffnet_search.export.exported import ExportedNetwork
from ffnet_search.export.formats.base import ModelFile, registered_files
from ffnet_search.export.groups import WORDS as GROUP_WORDS
from ffnet_search.formatting import plural
from ffnet_search.latency.table import LatencyTable
from ffnet_search.latency.timing import SHARED_RATIO
from ffnet_search.metrics import JUDGED
from ffnet_search.provenance import versions
from ffnet_search.report.architecture_svg import draw
from ffnet_search.report.data import Run, figures, front_columns, read_run, script_data
from ffnet_search.report.fidelity import fidelity_section
from ffnet_search.report.front_image import as_png, draw_front
from ffnet_search.report.headline import headline_of, retrained_of, yardstick_rows
from ffnet_search.report.learning_curves import curve_chart
from ffnet_search.report.templates import load_template, unbroken

TOP_AXES = 12  # of the importances: the others hardly matter
BEST = 50  # trials that are listed: candidates.csv has all
EXPORTED = (  # files of every exported network, but for those of formats
    ModelFile("model.safetensors", "weights of the deployed form, for ffnet_search.load"),
    ModelFile("trainable.safetensors", "weights before fusing, to continue training"),
    ModelFile("architecture.yaml", "the network"),
    ModelFile("README.md", "the model card, as model hubs read it"),
    ModelFile("scores.npz", "what it makes of each validation and test image, for paired tests"),
    ModelFile("card.json", "all figures and where they come from"),
)
SHEETS = {  # of images that a task draws -> the words below them
    "worst": "Its worst images on test: the image, its mask, and what the network makes of it.",
    "errors": "Its most confident errors on test: the label, what it says instead, and how sure it is.",
}
YARDSTICK = ["by hand", "measured", "test", "front's network as quick", "its test", "gain", "told apart"]
SCRIPT = ModelFile("predict.py", "the network on images, with ONNX Runtime alone")
# A name, a link to its files ("" for none), and its values by column, or the cells of its row in a table.
Record = tuple[str, str, Mapping[str, object]]
Row = tuple[str, str, Sequence[str]]


def write_report(sweep: Sweep) -> Path:
    """Write `front.png` and `report.html` of a run whose front is exported; return the path of the report."""
    run = read_run(sweep)
    write_bytes(sweep.files.front_png, as_png(draw_front(run)))
    write_text(sweep.files.report, page(run))
    return sweep.files.report


def page(run: Run) -> str:
    """The whole file. Links lead to files beside it, and nowhere else."""
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
        skipped=list(_skipped(run)),
        facts=list(_facts(run)),
        retraining=retraining_of(sweep),
        retrained=retrained_of(run),
        folds=sweep.export.folds,
        ranked_on=JUDGED[ranked_on(run.exported, ranking(sweep))],
        sweep_text=path.read_text(encoding="utf-8") if path.exists() else "",
        **_sections(run),
    )
    return unbroken(html)


def _sections(run: Run) -> dict[str, Any]:
    """The content of the sections for searches with, or without, latency."""
    if run.table is not None:
        networks = [_network(run, network) for network in run.exported]
        classes = {"output_table": _output_table(run), "quality_note": _quality_note(run), **_classes(run)}
        return {"latency": _latency(run, run.table), "networks": networks, **classes}
    first = run.metric(next(iter(run.sweep.search.objectives)))
    best = sorted(run.history.evaluated, key=lambda candidate: first.sign * candidate.metrics[first.key])[:BEST]
    exported: list[Record] = [
        (one.folder.name, f"pareto/{one.folder.name}/", {**one.metrics, **one.hyperparameters}) for one in run.exported
    ]
    trials: list[Record] = [(one.key, "", {**one.metrics, **one.final_hyperparameters}) for one in best]
    tables = {"exported_table": _records("network", exported), "best_table": _records("trial", trials)}
    return {"latency": None, "first": first.key, **tables}


def _records(title: str, records: Sequence[Record]) -> tuple[list[str], list[Row]]:
    """Column titles and rows; a cell that a record lacks is empty."""
    names = list(dict.fromkeys(name for _, _, values in records for name in values))
    rows: list[Row] = []
    for name, link, values in records:
        rows.append((name, link, [_plain(values[column]) if column in values else "" for column in names]))
    return [title, *names], rows


def _plain(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _latency(run: Run, table: LatencyTable) -> dict[str, Any]:
    history, space = run.history, run.sweep.search_space
    count = f"{len(history.evaluated):,}"
    searched = f"{count} architectures of {space.size:,} were evaluated."
    if space.hyperparameters:
        searched = f"{count} networks were trained to the end, in a space of {space.size:,} architectures."
    contention = table.setting.contention
    return {
        "searched": searched,
        "headline": headline_of(run),
        "yardstick": (YARDSTICK, yardstick_rows(run)) if run.gains else None,
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


def _network(run: Run, network: ExportedNetwork) -> dict[str, Any]:
    """An exported FFNet: `facts` stand in its card, `cells` in the table."""
    columns = front_columns(run.sweep, run.exported)
    cells = dict(zip(columns, figures(network, columns.values()), strict=True))
    spread = run.metric("measured_spread").format(network.metrics["measured_spread"])
    facts = [
        (_fact_title(run, title), f"{cell} ± {spread}" if title == "measured" else cell)
        for title, cell in cells.items()
    ]
    for name, value in network.hyperparameters.items():
        facts.append((name, f"{value:.4g}" if isinstance(value, float) else str(value)))
    letters = {split: run.groups.get(split, {}).get(network.folder.name, "") for split in JUDGED}
    return {
        "name": network.folder.name,
        "link": f"pareto/{network.folder.name}",
        "headline": f"{cells['test']}, {cells['measured']}",
        "facts": facts,
        "cells": [f"{cell} {letters.get(title, '')}".rstrip() for title, cell in cells.items()],
        "files": _files(network),
        "drawing": Markup(draw(network.network)),  # which escapes its texts
        "sheets": [
            (network.details[key], network.details.get("caption", words))
            for key, words in SHEETS.items()
            if network.details.get(key)
        ],
    }


def _fact_title(run: Run, column: str) -> str:
    """The title of a column where it stands alone: `test accuracy, inherited`."""
    phrases = {"params": "params_m", "MACs": "macs_m"}
    if column in phrases:
        return run.metric(phrases[column]).phrase
    split, comma, inherited = column.partition(", ")
    return f"{split} {run.task.quality.phrase}{comma}{inherited}" if split in JUDGED else column


def _classes(run: Run) -> dict[str, Any]:
    """The classes of the network that is ranked first: their table and their confusion."""
    details = run.first.details
    rows: list[Row] = [(name, "", cells) for name, *cells in class_rows(details)]
    confusion = details.get("confusion", [])
    most = max((count for row in confusion for count in row), default=0) or 1
    names = list(details.get("recall", {}))
    matrix = [
        (name, [(count, f"{count / most:.2f}", at == row) for at, count in enumerate(counts)])
        for row, (name, counts) in enumerate(zip(names, confusion, strict=False))
    ]
    return {"class_table": (list(CLASS_TITLES), rows) if rows else None, "confusion": matrix}


def _quality_note(run: Run) -> str:
    network = run.exported[0].architecture if run.exported else None
    return "" if network is None else run.task.quality_note(network.input.outputs)


def _output_table(run: Run) -> tuple[list[str], list[Row]] | None:
    """The quality of each output on test, a row for each and a column per network; None if the task has none.

    If the task knows the quality of a constant prediction, that is the last column."""
    names = [network.folder.name for network in run.exported]
    columns = [network.details.get(run.task.each, {}) for network in run.exported]
    if not any(columns):
        return None
    constant = run.exported[0].details.get("constant")
    if constant:
        columns, names = [*columns, constant], [*names, "the median alone"]
    values = [[column.get(name) for column in columns] for name in columns[0]]
    quality = run.task.quality
    rows: list[Row] = [
        (name, "", ["none in test" if value is None else quality.format(value) for value in row])
        for name, row in zip(columns[0], values, strict=True)
    ]
    return [run.task.outputs_word, *names], rows


def _files(network: ExportedNetwork) -> list[ModelFile]:
    """The files of an exported folder: those that are known first, with their words."""
    known = (SCRIPT, *registered_files(), *EXPORTED)
    names = {path.name for path in network.folder.iterdir()}
    others = sorted(names - {file.name for file in known})
    return [file for file in known if file.name in names] + [ModelFile(name, "") for name in others]


def _skipped(run: Run) -> Iterator[str]:
    """The number of architectures beyond each limit."""
    for name, count in run.history.infeasible.items():
        metric = run.metric(name)
        limit = f"{run.sweep.search.constraints[name]:g} {metric.unit}".rstrip()
        yield f"{plural(count, 'architecture')} beyond {metric.phrase} {metric.relation} {limit}"


def _facts(run: Run) -> Iterator[tuple[str, object]]:
    """The origin of the front, fact by fact."""
    sweep, search, card = run.sweep, run.sweep.search, run.exported[0].read_card()
    training = card.get("training", {})
    yield "Sweep", f"{sweep.path.name}, seed {sweep.seed}"
    fingerprint = card["data"].get("fingerprint") if "data" in card else training.get("data")
    yield "Data", f"{sweep.data.name}, fingerprint {fingerprint}"
    if run.table is None:
        yield "Git", training.get("git")
    else:
        yield "Search space", f"{sweep.search_space.name}, {sweep.search_space.size:,} architectures"
    yield "Objectives", ", ".join(f"{direction} {name}" for name, direction in search.directions.items())
    if run.table is not None:
        limits = (f"{name} {run.metric(name).relation} {limit:g}" for name, limit in search.constraints.items())
        yield "Limits", ", ".join(limits) or "none"
    yield "Sampler", f"{search.sampler.class_path} {dict(search.sampler.init_args)}"
    if run.table is not None:
        yield "Training", _training(sweep)
        setting = run.table.setting
        batch = f"{plural(setting.threads, 'thread')}, batch {setting.batch_size}, {setting.dtype}"
        yield "Latency", f"{setting.backend}, {batch}, {setting.clock}, on {setting.device}, {setting.date}"
    yield "Exported", card.get("date", "")
    yield "Versions", ", ".join(f"{name} {version}" for name, version in versions().items())


def _training(sweep: Sweep) -> str:
    names = ", ".join(sweep.search_space.hyperparameters)
    searched = f", but for what was searched ({names})" if names else ""
    epochs = f"{sweep.train.epochs} epochs of {sweep.train.optimizer}{searched}"
    if sweep.search.warm_start and "epochs" not in sweep.search_space.hyperparameters:
        epochs = f"{epochs}, trials from its weights for {trial_epochs(sweep)}"
    retraining = retraining_of(sweep)
    return f"{epochs}; {f'then each alone: {retraining}' if retraining else 'not retrained'}"
