"""The front as files: each of its networks rebuilt alone, measured again and tested on untouched images.

runs/NAME/pareto/front.csv
runs/NAME/pareto/01-KEY/   card.json, and what `export.ffnet` or `export.user_module` writes
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ffnet_search.atomic_write import SUFFIX
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.evaluation.trained import TrialEvaluator
from ffnet_search.export.exported import ExportedNetwork
from ffnet_search.export.ffnet import FFNetExport
from ffnet_search.export.user_module import UserModuleExport
from ffnet_search.metrics import find_metric
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import pareto_front
from ffnet_search.progress import progress
from ffnet_search.provenance import git_state
from ffnet_search.search.storage.study import read_candidates
from ffnet_search.tasks.base import task_of
from ffnet_search.training.fit import read_supernet, sweep_data

# Writes the files of each candidate into its folder, and yields its metrics.
Writer = Callable[[Sequence[Candidate], Sequence[Path]], Iterator[dict[str, float]]]


def export_front(sweep: Sweep) -> list[ExportedNetwork]:
    """Write the front of the run's study to `sweep.files.pareto`, best first, and replace the folder as a whole.

    Raises SweepError if there is no candidate.
    """
    candidates = read_candidates(sweep.files.study, sweep.search_space)
    front = choose(pareto_front(candidates, sweep.search.directions), sweep.export.top)
    if not front:
        raise SweepError(f"{sweep.path}: the search found no feasible candidate, so there is nothing to export")
    write = _writer(sweep)
    target = sweep.files.pareto
    scratch = target.with_name(f"{target.name}{SUFFIX}")
    shutil.rmtree(scratch, ignore_errors=True)
    folders = [scratch / f"{number:02d}-{candidate.key}" for number, candidate in enumerate(front, 1)]
    for folder in folders:
        folder.mkdir(parents=True)
    exported = []
    with progress("export", len(front), "networks") as bar:
        for candidate, folder, metrics in zip(front, folders, write(front, folders), strict=True):
            arch, values = candidate.architecture, candidate.final_hyperparameters
            exported.append(ExportedNetwork(target / folder.name, arch, metrics, values))
            bar.advance(note=f"{candidate.key}: {_figures(candidate, metrics)}")
    _write_csv(scratch / sweep.files.front_csv.name, exported)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(scratch, target)
    return exported


def choose(front: Sequence[Candidate], top: int) -> list[Candidate]:
    """At most `top` candidates of a front in order: evenly spread over it, both ends included."""
    if len(front) <= top:
        return list(front)
    if top == 1:
        return [front[0]]
    return [front[round(i * (len(front) - 1) / (top - 1))] for i in range(top)]


def _writer(sweep: Sweep) -> Writer:
    if sweep.module is not None:
        return UserModuleExport(sweep)
    data = sweep_data(sweep)
    if sweep.search.evaluator == "train":
        trials = TrialEvaluator(sweep, git=git_state(Path.cwd()))
        return FFNetExport(sweep, data, trials.network)
    evaluator = Evaluator(read_supernet(sweep.files.supernet), data)
    return FFNetExport(sweep, data, lambda candidate: evaluator.calibrated(candidate.network))


def _figures(candidate: Candidate, metrics: Mapping[str, float]) -> str:
    """The metrics of an exported network for the progress display."""
    if candidate.architecture is None:
        return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
    task = task_of(candidate.network.input)
    quality, latency = task.quality, find_metric("measured_ms")
    return f"{quality.format(metrics[task.test_quality])}, {latency.format(metrics['measured_ms'])}"


def _write_csv(path: Path, exported: Sequence[ExportedNetwork]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        names = dict.fromkeys(name for network in exported for name in network.hyperparameters)
        writer.writerow(["folder", "key", *exported[0].metrics, *names, "architecture"])
        for network in exported:
            values = [network.hyperparameters.get(name, "") for name in names]
            row = [network.folder.name, network.key, *network.metrics.values(), *values, network.architecture or ""]
            writer.writerow(row)
