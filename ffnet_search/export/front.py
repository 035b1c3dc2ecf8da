"""The front as files: each of its networks rebuilt alone, measured again and tested on untouched images.

runs/NAME/pareto/front.csv
runs/NAME/pareto/01-KEY/   card.json, and what `export.ffnet` or `export.user_module` writes
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from ffnet_search.atomic_write import SUFFIX
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.export.exported import ExportedNetwork, read_exported
from ffnet_search.export.ffnet import export_ffnets
from ffnet_search.export.user_module import export_user_modules
from ffnet_search.metrics import MEASURED
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import pareto_front
from ffnet_search.progress import progress
from ffnet_search.search.storage.study import read_candidates
from ffnet_search.tasks.base import task_of


def export_front(sweep: Sweep) -> None:
    """Write the front of the run's study to `sweep.files.pareto`, best first, and replace the folder as a whole.

    Raises SweepError if there is no candidate.
    """
    candidates = read_candidates(sweep.files.study, sweep.search_space)
    front = choose(pareto_front(candidates, sweep.search.directions), sweep.export.top)
    if not front:
        raise SweepError(f"{sweep.path}: the search found no feasible candidate, so there is nothing to export")
    target = sweep.files.pareto
    scratch = target.with_name(f"{target.name}{SUFFIX}")
    shutil.rmtree(scratch, ignore_errors=True)
    folders = [scratch / f"{number:02d}-{candidate.key}" for number, candidate in enumerate(front, 1)]
    for folder in folders:
        folder.mkdir(parents=True)
    export = export_ffnets if sweep.module is None else export_user_modules
    with progress("export", len(front), "networks") as bar:
        for candidate, metrics in zip(front, export(sweep, front, folders), strict=True):
            bar.advance(note=f"{candidate.key}: {_figures(candidate, metrics)}")
    _write_csv(scratch / sweep.files.front_csv.name, read_exported(scratch))
    shutil.rmtree(target, ignore_errors=True)
    os.replace(scratch, target)


def choose(front: Sequence[Candidate], top: int) -> list[Candidate]:
    """Choose at most `top` candidates of an ordered front: evenly spread over it, both ends included."""
    if len(front) <= top:
        return list(front)
    if top == 1:
        return [front[0]]
    return [front[round(i * (len(front) - 1) / (top - 1))] for i in range(top)]


def _figures(candidate: Candidate, metrics: Mapping[str, float]) -> str:
    if candidate.architecture is None:
        return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
    task, latency = task_of(candidate.network.input), MEASURED["measured_ms"]
    return f"{task.quality.format(metrics[task.test_quality])}, {latency.format(metrics[latency.key])}"


def _write_csv(path: Path, exported: Sequence[ExportedNetwork]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        names = dict.fromkeys(name for network in exported for name in network.hyperparameters)
        writer.writerow(["folder", "key", *exported[0].metrics, *names, "architecture"])
        for network in exported:
            values = [network.hyperparameters.get(name, "") for name in names]
            row = [network.folder.name, network.key, *network.metrics.values(), *values, network.architecture or ""]
            writer.writerow(row)
