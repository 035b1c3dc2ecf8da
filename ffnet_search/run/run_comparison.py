"""Two runs beside each other: their exported fronts as one, and the settings in which they differ."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ffnet_search.config.commands import command_of
from ffnet_search.config.named_metrics import ranking
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.export.exported import ExportedNetwork, read_exported
from ffnet_search.export.groups import read_first
from ffnet_search.export.pair import Pair, pair
from ffnet_search.files.secrets import without_secrets
from ffnet_search.metrics import LATENCY
from ffnet_search.pareto.front import dominator_counts, hypervolume
from ffnet_search.run.folder.changes import Change, differences

OWN = ("name", "runs", "search_space.name", "estimate")  # fields that do not influence a run's results
BEYOND = 0.1  # of the box that fronts span, by which the reference is beyond the worst of either


@dataclass(frozen=True)
class RunComparison:
    """The fronts of two runs. `rows`: (run, 0 or 1; network; whether no network of either dominates it), the quickest
    first. `shares`: of the box that both fronts span, dominated by each. `best`: the networks that the runs rank first,
    tested in pairs; None where they were not judged on the same images."""

    sweeps: tuple[Sweep, Sweep]
    rows: Sequence[tuple[int, ExportedNetwork, bool]]
    shares: tuple[float, float]
    changes: Sequence[Change]
    devices: tuple[str, str]
    best: Pair | None = None

    @property
    def names(self) -> tuple[str, str]:
        """The names of the runs, or their folders where these are alike."""
        first, second = self.sweeps
        folders = str(first.files.folder), str(second.files.folder)
        return (first.name, second.name) if first.name != second.name else folders


def compare_runs(first: Path, second: Path) -> RunComparison:
    """Lay the fronts of two runs over each other, by the quality on search validation and the latency.

    Raises SweepError if one has no front, or they measure different qualities."""
    same = SweepError(f"{second}: must be another run than {first}, but is the same; name two runs")
    if os.path.realpath(first) == os.path.realpath(second):  # which a circle of links does not end
        raise same
    sweeps = Sweep.of_run(first), Sweep.of_run(second)
    if len({os.path.realpath(sweep.files.folder) for sweep in sweeps}) == 1:  # a sweep's file and its run's folder
        raise same
    fronts = [read_exported(sweep.files.pareto) for sweep in sweeps]
    for sweep, front, where in zip(sweeps, fronts, (first, second), strict=True):
        if sweep.module is not None:
            raise SweepError(
                f"{where}: must be a run of FFNets, but is of a user-supplied module; compare candidates.csv"
            )
        if not front:
            raise SweepError(f"{where}: has no front yet; make it with `{command_of('run', sweep)}`")
    one, other = (ranking(sweep) for sweep in sweeps)
    if one.key != other.key:
        raise SweepError(f"{second}: must measure {one.phrase}, as {first} does, but measures {other.phrase}")
    networks = [(index, network) for index, front in enumerate(fronts) for network in front]
    points_N2 = np.array([quality_and_ms(sweeps[index], network) for index, network in networks])
    points_N2[:, 0] *= one.sign
    on_front = dominator_counts(points_N2) == 0
    rows = sorted(zip(networks, points_N2.tolist(), on_front.tolist(), strict=True), key=lambda row: row[1][1])
    contents = [without_secrets(sweep.model_dump(mode="json")) for sweep in sweeps]
    return RunComparison(
        sweeps,
        [(index, network, joint) for (index, network), _, joint in rows],
        _shares(points_N2, [index for index, _ in networks]),
        [change for change in differences(contents[0], contents[1]) if not change.field.startswith(OWN)],
        (_device(fronts[0][0]), _device(fronts[1][0])),
        _paired(*(_first(sweep, front) for sweep, front in zip(sweeps, fronts, strict=True))),
    )


def quality_and_ms(sweep: Sweep, network: ExportedNetwork) -> tuple[float, float]:
    """The quality on search validation and the milliseconds, measured if they were."""
    figures = network.metrics
    ms = figures.get("measured_ms", figures.get("predicted_ms", figures.get(LATENCY.name)))
    if ms is None:
        raise SweepError(f"{network.folder}: has no latency, by which fronts are compared; export it again")
    return figures[f"search_{ranking(sweep).key}"], ms


def _shares(points_N2: np.ndarray[tuple[int, int], np.dtype[np.float64]], owners: Sequence[int]) -> tuple[float, float]:
    low, high = points_N2.min(axis=0), points_N2.max(axis=0)
    high = high + BEYOND * (high - low)  # else the ends of a front add nothing
    box = float(np.prod(high - low))
    if box <= 0:
        return 1.0, 1.0
    mine = [points_N2[[owner == index for owner in owners]] for index in (0, 1)]
    volumes = [hypervolume(points.tolist(), high.tolist(), ["minimize", "minimize"]) / box for points in mine]
    return volumes[0], volumes[1]


def _first(sweep: Sweep, front: Sequence[ExportedNetwork]) -> Path:
    """The folder of the network that a run ranks first."""
    name = read_first(sweep.files.pareto).name
    return next((one.folder for one in front if one.folder.name == name), front[0].folder)


def _paired(first: Path, second: Path) -> Pair | None:
    try:
        return pair(first, second)
    except SweepError:  # of other data or another seed, or without scores
        return None


def _device(network: ExportedNetwork) -> str:
    setting = network.read_card().get("latency", {})
    return f"{setting.get('device', '')}, {setting.get('backend', '')}"
