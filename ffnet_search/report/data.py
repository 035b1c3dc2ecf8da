"""What a report shows, as plain data: the page draws it, and nothing on the page is computed from anything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ffnet_search.config.sweep import Sweep
from ffnet_search.export.exported import ExportedNetwork
from ffnet_search.latency.table import LatencyTable
from ffnet_search.metrics import Direction
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import hypervolume
from ffnet_search.pareto.running_front import RunningFront
from ffnet_search.search.history import History
from ffnet_search.space.registry import known_metrics

MOMENTS = 100  # at which the hypervolume is shown, at most


def content(
    sweep: Sweep,
    history: History,
    picks: Sequence[ExportedNetwork],
    table: LatencyTable,
    devices: Mapping[str, LatencyTable] = MappingProxyType({}),
) -> dict[str, Any]:
    """For the page's script: columns of the candidates, rows of the exported networks and of the held-out ones.

    `devices`: other ones, whether the search asked for them or not: each has a front of the same candidates.
    """
    evaluated = history.evaluated
    columns: dict[str, list[Any]] = {
        name: [_short(c.metrics.get(name, 0.0)) for c in evaluated] for name in known_metrics()
    }
    networks = [c.architecture for c in evaluated]
    for name, other in devices.items():
        times = iter(other.predict_batch(arch for arch in networks if arch))
        columns[f"latency_ms@{name}"] = [_short(next(times)) if arch else 0.0 for arch in networks]
    columns |= {"key": [c.key for c in evaluated], "text": [str(c.configuration) for c in evaluated]}
    rows = [
        {"folder": pick.folder.name, "text": str(pick.architecture)}
        | {f"latency_ms@{name}": _short(other.predict_ms(pick.network)) for name, other in devices.items()}
        | {name: _short(value) for name, value in pick.metrics.items()}
        for pick in picks
    ]
    return {
        "candidates": columns,
        "picks": rows,
        "limits": dict(sweep.search.constraints),
        "hypervolume": hypervolume_over_time(evaluated, sweep.search.directions),
        "held_out": [
            (_short(check.measured_ms), _short(check.predicted_ms), str(check.architecture)) for check in table.held_out
        ],
    }


def hypervolume_over_time(
    candidates: Sequence[Candidate], objectives: Mapping[str, Direction]
) -> list[tuple[int, float]]:
    """(candidates so far, share of the last hypervolume) wherever it rose, and at the end.

    The reference point is the worst that was seen of each objective, so that it needs no choice of ours.
    """
    if not candidates:
        return []
    worst = [
        (min if direction == "maximize" else max)(candidate.metrics[name] for candidate in candidates)
        for name, direction in objectives.items()
    ]
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
