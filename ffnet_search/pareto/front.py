"""Candidates, and which of them nothing beats: dominance, the Pareto front, hypervolume.

Constraints are not looked at here: callers pass feasible candidates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import le
from typing import Any, TypeVar

from ffnet_search.metrics import Direction
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.configuration import Configuration, Value


@dataclass(frozen=True)
class Candidate:
    """What was evaluated. `metrics`: by name (`metrics.py`, or what a user-supplied module logs);
    `hyperparameters` what was searched of its training; `architecture` is None where the network is the user's own.
    `record`: how it was trained, for a card: plain data; its `schedule`, where a population changed the
    hyper-parameters on the way."""

    architecture: Architecture | None
    metrics: Mapping[str, float]
    hyperparameters: Mapping[str, Value] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def configuration(self) -> Configuration:
        return Configuration(self.architecture, self.hyperparameters)

    @property
    def schedule(self) -> Sequence[Mapping[str, Any]]:
        """Empty where it was trained as it was proposed."""
        schedule: Sequence[Mapping[str, Any]] = self.record.get("schedule", [])
        return schedule

    @property
    def trained_with(self) -> Mapping[str, Value]:
        """The hyper-parameters of its last epoch, which people are shown."""
        last: Mapping[str, Value] = self.schedule[-1]["hyperparameters"] if self.schedule else self.hyperparameters
        return last

    @property
    def key(self) -> str:
        """Of its configuration."""
        return self.configuration.key

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
