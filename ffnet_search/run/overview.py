"""The runs of a folder, the candidates of a run as a table, and its best network, for the command line and
notebooks."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffnet_search.config.files import RunPaths
from ffnet_search.config.named_metrics import ranking
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import NAME, SweepError, did_you_mean, printable, shortened
from ffnet_search.export.exported import ExportedNetwork, read_exported
from ffnet_search.files.bounded import read_bounded
from ffnet_search.formatting import quoted
from ffnet_search.metrics import ERROR, Metric
from ffnet_search.run.folder.lock import working_process
from ffnet_search.run.folder.run_folder import read_records
from ffnet_search.run.stages import stages_of

if TYPE_CHECKING:
    import pandas

CANDIDATES_BYTES = 1 << 26  # of candidates.csv: some 200,000 trials


@dataclass(frozen=True)
class ListedRun:
    """A run at a glance.

    `state`: "done", or the stage that is not finished and its state; of a run that cannot be read the reason. `best`:
    of the exported networks, or else of the candidates. `networks`: the number of those that are exported."""

    folder: Path
    state: str
    candidates: int = 0
    networks: int = 0
    quality: Metric | None = None
    best: float | None = None
    best_error: float | None = None
    measured_ms: float | None = None
    size_mb: float = 0.0
    changed: datetime | None = None

    @property
    def name(self) -> str:
        return self.folder.name


def runs(folder: str | Path = "runs") -> list[ListedRun]:
    """The runs in a folder, the last one changed first. Raises SweepError if there is no such folder."""
    folder = Path(folder)
    if folder.is_file():
        raise SweepError(
            f"{folder}: must be a folder of runs, but is a file; `ffnet-search show {quoted(folder)}` shows it"
        )
    if not folder.is_dir():
        near = {path.parent.parent.name for path in folder.parent.glob(f"*/*/{RunPaths(folder).state.name}")}
        hint = did_you_mean(folder.name, near) or "; `ffnet-search run SWEEP` makes one"
        raise SweepError(f"{folder}: must be a folder of runs, but does not exist{hint}")
    if RunPaths(folder).state.exists():  # of one run
        return [_listed(RunPaths(folder))]
    found = [_listed(RunPaths(path.parent)) for path in folder.glob(f"*/{RunPaths(folder).state.name}")]
    return sorted(found, key=lambda run: run.changed or datetime.min, reverse=True)


def _listed(files: RunPaths) -> ListedRun:
    size_mb = sum(map(_bytes, _files(files.folder))) / 1e6
    changed = datetime.fromtimestamp(files.state.stat().st_mtime)
    try:
        sweep = Sweep.of_run(files.folder)
        exported = read_exported(files.pareto)
        state, metric = _state(sweep, files), ranking(sweep)
        candidates = list(_evaluated(files.candidates))
        found = _best(sweep, metric, exported, candidates)
    except SweepError as error:
        return ListedRun(files.folder, f"cannot be read: {error}", size_mb=size_mb, changed=changed)
    except (OSError, ValueError, csv.Error) as error:
        why = f"cannot be read: {files.candidates.name}: {shortened(printable(str(error)), NAME)}"
        return ListedRun(files.folder, why, size_mb=size_mb, changed=changed)
    return ListedRun(
        files.folder, state, len(candidates), len(exported), metric, *found, size_mb=size_mb, changed=changed
    )


def _best(
    sweep: Sweep, metric: Metric, exported: list[ExportedNetwork], candidates: list[dict[str, str]]
) -> tuple[float | None, float | None, float | None]:
    """The best quality on search validation, its standard error, and the measured milliseconds of that network."""
    name = metric.key if sweep.module is not None else f"search_{metric.key}"
    known = [network for network in exported if name in network.metrics]
    if known:
        network = min(known, key=lambda one: metric.sign * one.metrics[name])
        figures = network.metrics
        return figures[name], figures.get(name + ERROR), figures.get("measured_ms")
    values = [(float(row[metric.key]), row.get(metric.key + ERROR)) for row in candidates if row.get(metric.key)]
    if not values:
        return None, None, None
    best, error = min(values, key=lambda pair: metric.sign * pair[0])
    return best, float(error) if error else None, None


def _evaluated(path: Path) -> Iterator[dict[str, str]]:
    """The rows of the evaluated candidates in candidates.csv; none if it is missing."""
    if path.is_file():
        rows = csv.DictReader(io.StringIO(read_bounded(path, CANDIDATES_BYTES).decode(), newline=""))
        yield from (row for row in rows if row.get("state") == "evaluated")


def _state(sweep: Sweep, files: RunPaths) -> str:
    """The first stage that is not finished, and its state; "done" if all are."""
    records = read_records(files)
    for stage in stages_of(sweep):
        is_whole = all(path.exists() for path in stage.outputs(sweep))
        if stage.name not in records or not records[stage.name].finished or not is_whole:
            if working_process(files):
                return f"{stage.name} in progress"
            return f"{stage.name} {'incomplete' if stage.name in records else 'pending'}"
    return "done"


def _bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # a command that works in the folder has removed it
        return 0


def _files(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder):
        yield from (Path(where, name) for name in names)


def leaderboard(run: str | Path) -> pandas.DataFrame:
    """The evaluated candidates of a run as a table, best quality first, equal ones by the other objectives.

    `key`, the metrics and hyper-parameters of each; `on_front`; of exported networks `folder` and what was measured of
    them (`test_accuracy`, `measured_ms`, ...). Raises SweepError if the run has no study."""
    import pandas

    from ffnet_search.pareto.front import pareto_front
    from ffnet_search.search.storage.study import read_candidates

    sweep = Sweep.of_run(run)
    candidates = read_candidates(sweep.files.study, sweep.search_space)
    front = {candidate.key for candidate in pareto_front(candidates, sweep.search.directions)}
    exported = {network.key: network for network in read_exported(sweep.files.pareto)}
    rows: list[dict[str, Any]] = []
    for candidate in candidates:
        row = {"key": candidate.key, **candidate.metrics, **candidate.hyperparameters}
        row["on_front"] = candidate.key in front
        if network := exported.get(candidate.key):
            row |= {"folder": str(network.folder), **network.metrics}
        rows.append({**row, "architecture": str(candidate.configuration)})
    metric, table = ranking(sweep), pandas.DataFrame(rows)
    order = {metric.key: metric.direction, **sweep.search.directions}  # equal ones by the other objectives
    if keys := [key for key in order if key in table]:
        table = table.sort_values(keys, ascending=[order[key] == "minimize" for key in keys], kind="stable")
    return table.reset_index(drop=True)


def best(
    run: str | Path, latency_ms: float = math.inf, device: str | None = None, quality: float | None = None
) -> ExportedNetwork:
    """The best exported network of a run within a latency, as `ffnet-search pick` names it: `load(best(run).folder)`.

    Raises SweepError if no exported network keeps the budget: with the command that exports one."""
    from ffnet_search.run.select import select_network

    selection = select_network(Path(run), latency_ms, device, quality)
    if selection.exported is None:
        budget = "is as good as that" if math.isinf(latency_ms) else f"keeps {latency_ms:g} ms"
        raise SweepError(f"{run}: no exported network {budget}; {selection.hint}")
    return selection.exported
