"""The formats of exported networks as tables on standard output, and as JSON documents."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ffnet_search.cli.printing import Column, Grid, Kind, print_plain
from ffnet_search.export.exported import WEIGHTS, ExportedNetwork
from ffnet_search.formatting import figure, listed
from ffnet_search.tasks.base import Task, task_of

SLOWER = 1.1  # times the milliseconds of the ONNX model: beyond the noise of one measurement
NOT_RUN = "not here"


def print_formats(networks: Sequence[ExportedNetwork], name: str) -> None:
    """The networks that `export --format` wrote, each beside torch and the ONNX model."""
    rows, slower = [], 0  # number of networks
    task, files = task_of(networks[0].network.input), ""
    for network in networks:
        entry = network.read_card()["formats"][name]
        slower += entry.get("latency_ms", 0.0) > SLOWER * entry.get("onnx_latency_ms", math.inf)
        times = [figure(entry[key]) if key in entry else NOT_RUN for key in ("latency_ms", "onnx_latency_ms")]
        difference, quality, _ = _figures(entry, task, _exact(network, task))
        if task.test_quality in entry:
            quality += f" ({task.quality.format(entry[f'{task.test_quality}_before'], unit=False)})"
        rows.append([network.folder.name, *times, quality, difference])
        files = listed(entry["files"])
    print_plain(
        _grid(["network", "ms", "onnx ms", f"{task.quality.label} on test (before)", "differs by"], rows, keys=1)
    )
    print_plain(f"written: {files} in each of these folders of {networks[0].folder.parent}")
    if slower:
        print_plain(f"slower here than model.onnx: {slower} of {len(networks)}; on this machine, use model.onnx")


def _grid(titles: Sequence[str], rows: Sequence[Sequence[str]], keys: int) -> Grid:
    """A table whose first `keys` columns are keys, and the others numbers."""
    kinds: list[Kind] = ["key" if index < keys else "number" for index in range(len(titles))]
    return Grid([Column(*column) for column in zip(titles, zip(*rows, strict=True), kinds, strict=True)])


def print_format_table(networks: Sequence[ExportedNetwork], problems: Mapping[str, str]) -> None:
    """Each network in each of its formats: megabytes, largest difference from torch, quality on test, milliseconds."""
    quality = task_of(networks[0].network.input).quality
    rows = [row for network in networks for row in _rows(network)]
    titles = ["network", "format", "MB", "differs by", f"{quality.label} on test", "ms"]
    print_plain(_grid(titles, rows, keys=2))
    for name, reason in problems.items():
        print_plain(f"{name} is not written: {reason}")


def of_format_table(networks: Sequence[ExportedNetwork], problems: Mapping[str, str]) -> dict[str, Any]:
    """The entries of the cards, and why other formats are not written."""
    entries = [{"folder": str(one.folder), "formats": one.read_card().get("formats", {})} for one in networks]
    return {"networks": entries, "not_written": dict(problems)}


def _rows(network: ExportedNetwork) -> list[list[str]]:
    task, name = task_of(network.network.input), network.folder.name
    exact = _exact(network, task)
    rows = [[name, "torch", _megabytes(network.folder, [WEIGHTS]), "", exact, ""]]
    for format, entry in sorted(network.read_card().get("formats", {}).items()):
        rows.append([name, format, _megabytes(network.folder, entry.get("files", ())), *_figures(entry, task, exact)])
    return rows


def _exact(network: ExportedNetwork, task: Task) -> str:
    """The quality on test of the network itself, and so of each format that computes as torch does."""
    own = network.metrics.get(task.test_quality)
    return "" if own is None else task.quality.format(own, unit=False)


def _figures(entry: Mapping[str, Any], task: Task, exact: str) -> list[str]:
    if "max_difference" not in entry:
        return [NOT_RUN, NOT_RUN, NOT_RUN]
    own = entry.get(task.test_quality)
    quality = exact if own is None else task.quality.format(own, unit=False)  # an exact one computes as torch does
    return [f"{entry['max_difference']:.1e}", quality, figure(entry["latency_ms"])]


def _megabytes(folder: Path, names: Sequence[str]) -> str:
    """The size of files, or folders of files, in 10^6 bytes."""
    paths = [path for name in names for path in (folder / name, *(folder / name).rglob("*")) if path.is_file()]
    return f"{sum(path.stat().st_size for path in paths) / 1e6:.2f}"
