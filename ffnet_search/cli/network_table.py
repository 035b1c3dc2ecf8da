"""One exported network on standard output: its figures, its files, and the cost of each of its parts."""

from __future__ import annotations

from ffnet_search.cli.printing import make_table, print_plain
from ffnet_search.cli.tables import print_architecture
from ffnet_search.export.exported import CLASS_TITLES, ExportedNetwork, class_rows
from ffnet_search.metrics import ERROR, Metric, find_metric
from ffnet_search.space.registry import task_outputs


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
        print_plain(make_table(CLASS_TITLES, rows, right=3))
    files = sorted(path.name for path in network.folder.iterdir() if path.is_file())
    print_plain(f"files: {', '.join(files)}")
    if network.architecture is not None:
        print_architecture(network.architecture, "architecture")


def _metric(network: ExportedNetwork, name: str) -> Metric:
    quality = [task_outputs(network.architecture.input.task).quality] if network.architecture else []
    try:
        return find_metric(name, quality)
    except KeyError:  # of a user-supplied module
        return Metric(name, "minimize")
