"""The content of a report: the data of a run's folder, and the plain data that the page's script draws."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ffnet_search.config.named_metrics import named_metrics, ranking
from ffnet_search.config.sweep import Sweep
from ffnet_search.evaluation.fidelity import Fidelity
from ffnet_search.export.answer import Offer, answers, better_words, export_command, first_answer, offers
from ffnet_search.export.exported import ExportedNetwork, read_exported
from ffnet_search.export.groups import Groups, read_groups
from ffnet_search.export.yardstick.gains import Gain, read_gains
from ffnet_search.formatting import unbroken
from ffnet_search.latency.table import LatencyTable
from ffnet_search.metrics import COSTS, ERROR, FOLDS, INHERITED, LATENCY, Direction, Metric
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import RunningFront, hypervolume
from ffnet_search.report.fidelity import fidelity_of
from ffnet_search.search.history import History, read_history
from ffnet_search.tasks.base import Task, find_task

PRINTED = ("phrase", "label", "unit", "scale", "decimals", "sign")  # of a metric, as page.js prints it
MOMENTS = 100  # at which the hypervolume is shown, at most


@dataclass(frozen=True)
class Run:
    """A run whose front is exported.

    `table`: of the first device; None if the search knew no latency. `devices`: tables of the others, whether the
    search asked for them or not: each has a front of the same candidates. `fidelity`: of its supernet, if measured."""

    sweep: Sweep
    history: History
    exported: Sequence[ExportedNetwork]
    table: LatencyTable | None = None
    devices: Mapping[str, LatencyTable] = field(default_factory=dict)
    fidelity: Fidelity | None = None
    groups: Groups = field(default_factory=dict)
    gains: Sequence[Gain] = ()

    @cached_property
    def offers(self) -> list[Offer]:
        """The networks of the run that may be the answer to a budget, on the search's own device."""
        assert self.table is not None
        return offers(self.sweep, self.history.evaluated, self.exported, self.table)

    @cached_property
    def first(self) -> ExportedNetwork:
        """The exported network that the search ranks first within the sweep's limit, or without one that keeps it."""
        found = first_answer(self.offers, self.sweep).exported
        assert found is not None and found.exported is not None  # a run is reported once a network is exported
        return found.exported

    @property
    def task(self) -> Task:
        return find_task(self.sweep.task)

    def metric(self, key: str) -> Metric:
        return self.sweep.metric(key)

    def label(self, key: str) -> str:
        """The title of an axis that shows a metric of candidates, whose quality is on search validation."""
        is_quality = key in (self.task.quality.name, *named_metrics(self.sweep))
        return self.metric(f"search_{key}" if is_quality else key).label

    @property
    def costs(self) -> list[Metric]:
        """The metrics that a front can be drawn against: all costs, and the latency on each other device."""
        return [*COSTS.values(), *(LATENCY.on(name) for name in self.devices)]


def read_run(sweep: Sweep) -> Run:
    """Read the history, the exported networks and the latency tables of a run. Raises SweepError."""
    objectives = [sweep.search.metric(name) for name in sweep.search.objectives]
    history = read_history(sweep.files.study, sweep.search_space, objectives)
    exported, groups = read_exported(sweep.files.pareto), read_groups(sweep.files.pareto)
    if not sweep.search_space.is_elastic:
        return Run(sweep, history, exported)
    paths = {str(section.name): sweep.files.latency_table(section) for section in sweep.latency[1:]}
    devices = {name: LatencyTable.load(path) for name, path in paths.items() if path.exists()}
    table = LatencyTable.load(sweep.latency_path)
    return Run(sweep, history, exported, table, devices, fidelity_of(sweep), groups, read_gains(sweep.files.yardstick))


def front_columns(sweep: Sweep, exported: Sequence[ExportedNetwork]) -> dict[str, Metric]:
    """The columns of a table of exported FFNets: title -> metric. Of a retrained front, what was inherited too.

    What an answer consists of comes first: a phone shows two columns beside the name."""
    task = find_task(sweep.task)
    keys = {
        "test": task.test_quality,
        "measured": "measured_ms",
        "search": task.search_quality,
        FOLDS: f"{FOLDS}_{task.quality.name}",
        "params": "params_m",
        "MACs": "macs_m",
        "predicted": "predicted_ms",
        "test, inherited": INHERITED + task.test_quality,
        "search, inherited": INHERITED + task.search_quality,
    }
    known = [key for key in keys.values() if all(key in network.metrics for network in exported)]
    return {title: sweep.metric(key) for title, key in keys.items() if key in known}


def figures(network: ExportedNetwork, metrics: Iterable[Metric]) -> list[str]:
    """The printed values of a network's metrics, with the standard errors of those that have one."""
    m = network.metrics
    return [metric.format_with(m[metric.key], m.get(f"{metric.key}{ERROR}")) for metric in metrics]


def script_data(run: Run) -> dict[str, Any]:
    """Columns of the candidates, rows of the exported and of the held-out networks, and how metrics are printed."""
    assert run.table is not None
    task, quality = run.task, run.task.quality.name
    shown = [run.metric(key) for key in (quality, task.search_quality, task.test_quality)]
    shown += [*run.costs, run.metric("measured_ms"), run.metric("predicted_ms"), run.metric("measured_spread")]
    return {
        "metrics": {metric.key: {name: getattr(metric, name) for name in PRINTED} for metric in shown},
        "quality": {"candidate": quality, "search": task.search_quality, "test": task.test_quality},
        "costs": [cost.key for cost in run.costs],
        "candidates": _columns(run),
        "exported": [_row(run, network) for network in run.exported],
        "limits": dict(run.sweep.search.constraints),
        "first": run.first.folder.name,
        "answers": list(_answers(run)),
        "hypervolume": hypervolume_over_time(run.history.evaluated, run.sweep.search.directions),
        "repeated": run.table.is_exact,
        "held_out": [
            (_short(check.measured_ms), _short(check.predicted_ms), str(check.architecture))
            for check in run.table.held_out
        ],
    }


def _answers(run: Run) -> Iterator[tuple[float, int, str, str]]:
    """The slider's answers: budget from which on it holds, exported network, a better one in words and its command."""
    shown = {one.key: number for number, one in enumerate(run.exported)}
    quality = ranking(run.sweep)
    for ms, found in answers(run.offers, quality):
        better = found.better
        command = "" if better is None else export_command(run.sweep.files.folder, better.key)
        exported = -1 if found.exported is None else shown[found.exported.key]
        yield ms, exported, unbroken(better_words(found, quality)), command


def _columns(run: Run) -> dict[str, list[Any]]:
    evaluated = run.history.evaluated
    names = (run.task.quality.name, *COSTS)
    columns: dict[str, list[Any]] = {
        name: [_short(candidate.metrics.get(name, 0.0)) for candidate in evaluated] for name in names
    }
    for name, table in run.devices.items():
        times = table.predict_batch(candidate.network for candidate in evaluated)
        columns[f"latency_ms@{name}"] = [_short(ms) for ms in times]
    columns["key"] = [candidate.key for candidate in evaluated]
    columns["text"] = [str(candidate.configuration) for candidate in evaluated]
    return columns


def _row(run: Run, network: ExportedNetwork) -> dict[str, Any]:
    row: dict[str, Any] = {"folder": network.folder.name, "text": str(network.architecture)}
    row |= {f"latency_ms@{name}": _short(table.predict_ms(network.network)) for name, table in run.devices.items()}
    return row | {name: _short(value) for name, value in network.metrics.items()}


def hypervolume_over_time(
    candidates: Sequence[Candidate], objectives: Mapping[str, Direction]
) -> list[tuple[int, float]]:
    """(candidates so far, share of the last hypervolume) wherever it rose, and at the end.

    The reference point is the worst seen value of each objective, so that it needs no choice of ours."""
    if not candidates:
        return []
    worst = []
    for name, direction in objectives.items():
        values = [candidate.metrics[name] for candidate in candidates]
        worst.append(min(values) if direction == "maximize" else max(values))
    front = RunningFront(objectives, {})
    fronts = [(number, front.points) for number, candidate in enumerate(candidates, 1) if front.add(candidate)]
    if len(fronts) > MOMENTS:  # more than a line can show, and each costs the square of its front
        fronts = [fronts[round(i * (len(fronts) - 1) / (MOMENTS - 1))] for i in range(MOMENTS)]
    volumes = [(number, hypervolume(points, worst, list(objectives.values()))) for number, points in fronts]
    last = volumes[-1][1]
    shares = [(number, _short(volume / last)) for number, volume in volumes] if last else []
    return [*shares, (len(candidates), 1.0)] if shares else []


def _short(value: float) -> float:
    """Six digits: more than was measured, and half the file."""
    return float(f"{value:.6g}")
