"""What a report shows, as plain data: the page draws it, and nothing on the page is computed from anything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ffnet_search.export import Pick
from ffnet_search.latency import LatencyTable
from ffnet_search.pareto import METRICS, Candidate, Direction, hypervolume, pareto_front
from ffnet_search.search import History
from ffnet_search.sweep import Sweep


def content(sweep: Sweep, history: History, picks: Sequence[Pick], table: LatencyTable) -> dict[str, Any]:
    """For the page's script: columns of the candidates, rows of the exported networks and of the held-out ones."""
    evaluated = history.evaluated
    columns: dict[str, list[Any]] = {name: [_short(c.metrics.get(name, 0.0)) for c in evaluated] for name in METRICS}
    columns |= {"key": [c.architecture.key for c in evaluated], "text": [str(c.architecture) for c in evaluated]}
    rows = [
        {"folder": pick.folder.name, "text": str(pick.architecture)}
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
    names, directions = list(objectives), list(objectives.values())
    points = [[candidate.metrics[name] for name in names] for candidate in candidates]
    worst = [
        (min if direction == "maximize" else max)((point[i] for point in points), default=0.0)
        for i, direction in enumerate(directions)
    ]
    front: list[Candidate] = []
    volumes: list[tuple[int, float]] = []
    for number, candidate in enumerate(candidates, 1):
        better = pareto_front([*front, candidate], objectives)
        if better != front:
            front = better
            volume = hypervolume([[c.metrics[name] for name in names] for c in front], worst, directions)
            volumes.append((number, volume))
    last = volumes[-1][1] if volumes else 0.0
    shares = [(number, _short(volume / last) if last else 0.0) for number, volume in volumes]
    return [*shares, (len(candidates), 1.0 if last else 0.0)] if shares else []


def _short(value: float) -> float:
    """Six digits: more than was measured, and half the file."""
    return float(f"{value:.6g}")
