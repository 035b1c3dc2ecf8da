"""Candidates, and which of them nothing beats: dominance, the Pareto front, hypervolume.

Constraints are not looked at here: callers pass feasible candidates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import le
from typing import Any, Literal, TypeVar

from ffnet_search.architecture import Architecture
from ffnet_search.proposal import Proposal, Value
from ffnet_search.schedule import Schedule, ending

Direction = Literal["maximize", "minimize"]

METRICS: dict[str, Direction] = {  # every metric that an objective or a constraint can name
    "accuracy": "maximize",  # share of the search-validation images, 0 to 1
    "latency_ms": "minimize",  # predicted by the latency table, one batch
    "params_m": "minimize",  # millions, deployed form
    "macs_m": "minimize",  # millions of multiply-accumulates for one image, deployed form
    "weights_mb": "minimize",  # millions of bytes, float32
    "peak_memory_mb": "minimize",  # of activations at the worst moment, one image, millions of bytes, float32
}


def base_of(metric: str) -> str:
    """The name in `METRICS`: `latency_ms` of `latency_ms@phone`, the latency on one of several devices."""
    return metric.partition("@")[0]


def is_metric(name: str) -> bool:
    return name in METRICS or (name.startswith("latency_ms@") and len(name) > len("latency_ms@"))


def direction_of(metric: str) -> Direction:
    """Raises KeyError for what is no metric."""
    return METRICS[base_of(metric)]


@dataclass(frozen=True)
class Candidate:
    """What was evaluated. `metrics` holds names of `METRICS`, or what a module of the user's own logs;
    `hyperparameters` what was searched of its training; `architecture` is None where the network is the user's own.
    `record`: how it was trained, for a card: plain data; its `schedule`, where a population changed the
    hyper-parameters on the way."""

    architecture: Architecture | None
    metrics: Mapping[str, float]
    hyperparameters: Mapping[str, Value] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def proposal(self) -> Proposal:
        return Proposal(self.architecture, self.hyperparameters)

    @property
    def schedule(self) -> Schedule:
        """Empty where it was trained as it was proposed."""
        schedule: Schedule = self.record.get("schedule", [])
        return schedule

    @property
    def trained_with(self) -> Mapping[str, Value]:
        """The hyper-parameters of its last epoch, which people are shown."""
        return ending(self.schedule, self.hyperparameters)

    @property
    def key(self) -> str:
        """Of its proposal."""
        return self.proposal.key

    @property
    def network(self) -> Architecture:
        """The architecture, for those who need one. Raises ValueError where it has none."""
        if self.architecture is None:
            raise ValueError(f"candidate {self.key} is not of an FFNet")
        return self.architecture


Item = TypeVar("Item")


def pareto_front(candidates: Sequence[Candidate], objectives: Mapping[str, Direction]) -> list[Candidate]:
    """The candidates that none dominates, one per point, best first objective first.

    >>> pareto_front([], {"accuracy": "maximize", "latency_ms": "minimize"})
    []
    """
    signs = [-1.0 if direction == "maximize" else 1.0 for direction in objectives.values()]
    points = [tuple(s * c.metrics[name] for s, name in zip(signs, objectives, strict=True)) for c in candidates]
    for candidate, point in zip(candidates, points, strict=True):
        if not all(math.isfinite(value) for value in point):
            metrics = tuple(candidate.metrics[name] for name in objectives)
            raise ValueError(f"metrics must be finite, but {candidate.key} has {metrics}")
    # Less is better now. In this order nothing can be dominated by a later one: the front so far is all to be asked.
    front: list[int] = []
    for i in sorted(range(len(points)), key=points.__getitem__):
        if not any(all(map(le, points[j], points[i])) for j in front):  # as good everywhere: the same, or dominated
            front.append(i)
    return [candidates[i] for i in front]


def hypervolume(
    points: Sequence[Sequence[float]], reference: Sequence[float], directions: Sequence[Direction]
) -> float:
    """The volume that `points` dominate up to `reference`, by slicing along the last objective (exact, any number).

    A point that does not beat the reference everywhere adds nothing.
    """
    signs = [1.0 if d == "maximize" else -1.0 for d in directions]
    gains = [tuple(s * (x - r) for s, x, r in zip(signs, point, reference, strict=True)) for point in points]
    return _volume([gain for gain in gains if all(g > 0 for g in gain)])


def _volume(gains: list[tuple[float, ...]]) -> float:
    if not gains:
        return 0.0
    if len(gains[0]) == 1:
        return max(gain[0] for gain in gains)
    volume, previous = 0.0, 0.0
    for height in sorted({gain[-1] for gain in gains}):
        volume += (height - previous) * _volume([gain[:-1] for gain in gains if gain[-1] >= height])
        previous = height
    return volume
