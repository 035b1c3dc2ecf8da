"""Candidates of given metrics."""

from __future__ import annotations

from collections.abc import Sequence

from ffnet_search.metrics import Direction
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.space.architecture import Architecture, Stage, Stem
from ffnet_search.space.block import Block

ARCH = Architecture(Stem(8, 2), (Stage(16, (Block(),)),))
BOTH: dict[str, Direction] = {"accuracy": "maximize", "latency_ms": "minimize"}


def candidates(points: Sequence[Sequence[float]], names: Sequence[str] = tuple(BOTH)) -> list[Candidate]:
    return [Candidate(ARCH, dict(zip(names, point, strict=True))) for point in points]


def points_of(front: list[Candidate], names: Sequence[str] = tuple(BOTH)) -> list[tuple[float, ...]]:
    return [tuple(candidate.metrics[name] for name in names) for candidate in front]
