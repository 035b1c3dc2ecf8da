"""The formats of exported networks as tables on standard output, and as JSON documents."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ffnet_search.cli.printing import Column, Grid, Kind
from ffnet_search.cli.printing import make_table as _table
from ffnet_search.cli.printing import print_plain as _print
from ffnet_search.export.exported import ExportedNetwork
from ffnet_search.tasks.base import Task, task_of

SLOWER = 1.1  # times the milliseconds of the ONNX model: beyond the noise of one measurement
NOT_RUN = "not here"
WEIGHTS = "model.safetensors"


def print_formats(networks: Sequence[ExportedNetwork], name: str) -> None:
    """The networks that `export --format` wrote, each beside torch and the ONNX model."""
    rows, slower = [], 0  # number of networks
    for network in networks:
        task, entry = task_of(network.network.input), network.read_card()["formats"][name]
        slower += entry.get("latency_ms", 0.0) > SLOWER * entry.get("onnx_latency_ms", math.inf)
        times = [f"{entry[key]:.3f}" if key in entry else NOT_RUN for key in ("latency_ms", "onnx_latency_ms")]
        difference, quality = NOT_RUN, NOT_RUN
        if "max_difference" in entry:
            difference, quality = f"{entry['max_difference']:.1e}", "as torch"
        if task.test_quality in entry:
            before, after = entry[f"{task.test_quality}_before"], entry[task.test_quality]
            quality = f"{task.quality.format(after)} ({task.quality.format(before, unit=False)})"
        rows.append([str(network.folder / entry["files"][0]), *times, quality, difference])
    _print(_table(["file", "ms", "onnx ms", "on test (before)", "outputs differ by"], rows, right=4))
    if slower:
        _print(f"slower here than model.onnx: {slower} of {len(networks)}; on this machine, use model.onnx")


def print_format_table(networks: Sequence[ExportedNetwork], problems: Mapping[str, str]) -> None:
    """Each network in each of its formats: megabytes, largest difference from torch, quality on test, milliseconds."""
    quality = task_of(networks[0].network.input).quality
    rows = [row for network in networks for row in _rows(network)]
    titles = ["network", "format", "MB", "differs by", f"{quality.label} on test", "ms"]
    kinds: list[Kind] = ["key", "key", "number", "number", "number", "number"]
    _print(Grid([Column(*column) for column in zip(titles, zip(*rows, strict=True), kinds, strict=True)]))
    for name, reason in problems.items():
        _print(f"{name} is not written: {reason}")


def of_format_table(networks: Sequence[ExportedNetwork], problems: Mapping[str, str]) -> dict[str, Any]:
    """The entries of the cards, and why other formats are not written."""
    entries = [{"folder": str(one.folder), "formats": one.read_card().get("formats", {})} for one in networks]
    return {"networks": entries, "not_written": dict(problems)}


def _rows(network: ExportedNetwork) -> list[list[str]]:
    task, name = task_of(network.network.input), network.folder.name
    own = network.metrics.get(task.test_quality)
    exact = "" if own is None else task.quality.format(own, unit=False)
    rows = [[name, "torch", _megabytes(network.folder, [WEIGHTS]), "", exact, ""]]
    for format, entry in sorted(network.read_card().get("formats", {}).items()):
        rows.append([name, format, _megabytes(network.folder, entry.get("files", ())), *_figures(entry, task, exact)])
    return rows


def _figures(entry: Mapping[str, Any], task: Task, exact: str) -> list[str]:
    if "max_difference" not in entry:
        return [NOT_RUN, NOT_RUN, NOT_RUN]
    own = entry.get(task.test_quality)
    quality = exact if own is None else task.quality.format(own, unit=False)  # an exact one computes as torch does
    return [f"{entry['max_difference']:.1e}", quality, f"{entry['latency_ms']:.3f}"]


def _megabytes(folder: Path, names: Sequence[str]) -> str:
    """The size of files, or folders of files, in 10^6 bytes."""
    paths = [path for name in names for path in (folder / name, *(folder / name).rglob("*")) if path.is_file()]
    return f"{sum(path.stat().st_size for path in paths) / 1e6:.2f}"
