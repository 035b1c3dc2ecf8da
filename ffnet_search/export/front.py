"""The front as files: each network rebuilt alone, measured again and tested on the test split.

runs/NAME/pareto/front.csv
runs/NAME/pareto/01-KEY/   card.json, and for an FFNet architecture, weights, ONNX, model card and script; for a
                           user-supplied module model.ckpt
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ffnet_search.atomic_write import SUFFIX
from ffnet_search.config.named_metrics import ranking
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError, did_you_mean
from ffnet_search.export.answer import first_answer, hint, offers
from ffnet_search.export.card import write_card
from ffnet_search.export.exported import ExportedNetwork, read_card, read_exported, read_network
from ffnet_search.export.ffnets import export_ffnets
from ffnet_search.export.folders import asked_for, folder_names, recover_front, replace_front, write_names
from ffnet_search.export.groups import First, write_groups
from ffnet_search.export.picks import Pick, cross_validated, draw_front, retrained_picks
from ffnet_search.export.user_modules import export_user_modules
from ffnet_search.formatting import csv_cell
from ffnet_search.latency.table import LatencyTable
from ffnet_search.metrics import MEASURED
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import as_minimised
from ffnet_search.progress import progress
from ffnet_search.search.storage.study import read_candidates
from ffnet_search.tasks.base import task_of


def export_front(sweep: Sweep) -> None:
    """Write the front of the run's study to `sweep.files.pareto`, best first, and replace the folder as a whole.

    A network keeps its name, and what stood beside it; see `folders.replace_front`. Raises SweepError if there is no
    candidate."""
    candidates = read_candidates(sweep.files.study, sweep.search_space)
    if not candidates:
        raise SweepError(f"{sweep.path}: the search found no feasible candidate, so there is nothing to export")
    recover_front(sweep.files)
    target = sweep.files.pareto
    asked = asked_for(target)
    front = cross_validated(sweep, draw_front(sweep, candidates, asked))
    scratch = target.with_name(f"{target.name}{SUFFIX}")
    shutil.rmtree(scratch, ignore_errors=True)
    names = folder_names(target, [pick.key for pick in front])
    write_picks(sweep, front, [scratch / names[pick.key] for pick in front], asked)
    write_names(scratch, names)
    _write_tables(scratch, sweep, candidates)
    replace_front(sweep.files, scratch)


def export_network(sweep: Sweep, key: str, folder: Path | None = None) -> ExportedNetwork:
    """Write one evaluated network, retrained where the sweep says so: beside the front, or into `folder`.

    Raises SweepError for a key that was not evaluated."""
    candidates = read_candidates(sweep.files.study, sweep.search_space)
    chosen = [candidate for candidate in candidates if candidate.key == key]
    if not chosen:
        similar = did_you_mean(key, [candidate.key for candidate in candidates])
        raise SweepError(
            f"{sweep.files.study}: has no evaluated network {key!r}{similar}; its keys are in {sweep.files.candidates}"
        )
    [pick], pareto = cross_validated(sweep, [retrained_picks(sweep, chosen)[key]]), sweep.files.pareto
    names = folder_names(pareto, [key])
    target = folder or pareto / names[key]
    scratch = target.with_name(f"{target.name}{SUFFIX}")
    shutil.rmtree(scratch, ignore_errors=True)
    write_picks(sweep, [pick], [scratch], [key])
    os.replace(scratch, target)
    if folder is None:
        write_names(pareto, names)
        _write_tables(pareto, sweep, candidates)
    return read_network(target)


def write_picks(sweep: Sweep, picks: Sequence[Pick], folders: Sequence[Path], asked: Collection[str] = ()) -> None:
    """Write the files of each pick into its folder; those that were `asked` for say so in their cards."""
    for folder in folders:
        folder.mkdir(parents=True)
    export = export_ffnets if sweep.module is None else export_user_modules
    written = export(sweep, picks, folders)  # what is measured together has a bar of its own, and is over by now
    with progress("export", len(picks), "networks") as bar:
        for pick, folder, metrics in zip(picks, folders, written, strict=True):
            order = as_minimised(pick.judged, sweep.search.directions)
            card = {**read_card(folder), "order": order, **({"asked_for": True} if pick.key in asked else {})}
            write_card(folder, card)
            bar.advance(note=f"{pick.key}: {_figures(sweep, pick.candidate, metrics)}")


def _figures(sweep: Sweep, candidate: Candidate, metrics: Mapping[str, float]) -> str:
    if candidate.architecture is None:
        named = {sweep.metric(name): value for name, value in metrics.items()}
        return ", ".join(f"{metric.phrase} {metric.format(value)}" for metric, value in named.items())
    task, latency = task_of(candidate.network.input), MEASURED["measured_ms"]
    return f"{task.quality.format(metrics[task.test_quality])}, {latency.format(metrics[latency.key])}"


def _write_tables(pareto: Path, sweep: Sweep, candidates: Sequence[Candidate]) -> None:
    """Write the files about all networks of a front: their figures as CSV, the groups of paired tests, the best one."""
    exported, first = read_exported(pareto), First()
    _write_csv(pareto / sweep.files.front_csv.name, exported)
    if sweep.search_space.is_elastic:
        table = LatencyTable.load(sweep.latency_path)
        found = first_answer(offers(sweep, candidates, exported, table), sweep)
        if found.exported is not None and found.exported.exported is not None:
            first = First(found.exported.exported.folder.name, hint(found, ranking(sweep), sweep.files.folder))
    write_groups(pareto, exported, first)


def _write_csv(path: Path, exported: Sequence[ExportedNetwork]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        names = dict.fromkeys(name for network in exported for name in network.hyperparameters)
        writer.writerow(map(csv_cell, ["folder", "key", *exported[0].metrics, *names, "architecture"]))
        for network in exported:
            values = [network.hyperparameters.get(name, "") for name in names]
            row: list[object] = [network.folder.name, network.key, *network.metrics.values(), *values]
            writer.writerow(map(csv_cell, [*row, str(network.architecture or "")]))
