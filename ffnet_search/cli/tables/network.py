"""One exported network on standard output: its figures, its files, and the cost of each of its parts."""

from __future__ import annotations

from ffnet_search.cli.printing import make_table, print_plain
from ffnet_search.cli.tables.space import print_architecture
from ffnet_search.export.class_table import CLASS_TITLES, class_rows, rare_words
from ffnet_search.export.exported import ExportedNetwork
from ffnet_search.metrics import ERROR, Metric, find_metric
from ffnet_search.space.registry import task_outputs
from ffnet_search.tasks.base import Task, task_of


def print_network(network: ExportedNetwork) -> None:
    """The figures of an exported network's card with their errors, its files, and its parts."""
    print_plain(f"{network.folder}: network {network.key}")
    rows = []
    for name, value in network.metrics.items():
        if name.endswith(ERROR) and name.removesuffix(ERROR) in network.metrics:
            continue
        metric, error = _metric(network, name), network.metrics.get(name + ERROR)
        deviation = "" if error is None else f"±{metric.format(error, unit=False)}"
        rows.append([metric.phrase, metric.format(value, unit=False), deviation, metric.unit])
    print_plain(make_table(["metric", "value", "error", "unit"], rows, right=2))
    if network.hyperparameters:
        settings = [[name, str(value)] for name, value in network.hyperparameters.items()]
        print_plain(make_table(["hyper-parameter", "value"], settings))
    rows = class_rows(network.details)
    if rows:
        print_plain("on test, the hardest class first:")
        print_plain(make_table(CLASS_TITLES, rows, right=4))
        if words := rare_words(network.details):
            print_plain(words)
        if sheet := network.details.get("errors"):
            print_plain(f"its most confident errors as images: {network.folder / sheet}")
    elif network.architecture is not None:
        _print_outputs(network, task_of(network.architecture.input), network.architecture.input.outputs)
    files = sorted(path.name for path in network.folder.iterdir() if path.is_file())
    print_plain(f"files: {', '.join(files)}")
    if network.architecture is not None:
        print_architecture(network.architecture, "architecture")


def _print_outputs(network: ExportedNetwork, task: Task, outputs: int) -> None:
    """The quality of each output on test, in its own unit, and what that of all of them is."""
    if words := task.reference_note(network.details):
        print_plain(words)
    each, constant = network.details.get(task.each, {}), network.details.get("constant", {})
    if not each:
        return
    titles = [task.outputs_word, f"{task.each_words} on test", *(["the median alone"] if constant else [])]
    rows = [
        [name, *("none" if value is None else task.quality.format(value) for value in (each[name], *median))]
        for name in each
        for median in ([constant[name]] if constant else [],)
    ]
    print_plain(make_table(titles, rows, right=2))
    if note := task.quality_note(outputs):
        print_plain(note)


def _metric(network: ExportedNetwork, name: str) -> Metric:
    quality = [task_outputs(network.architecture.input.task).quality] if network.architecture else []
    try:
        return find_metric(name, quality)
    except KeyError:  # of a user-supplied module
        return Metric(name, "minimize")
