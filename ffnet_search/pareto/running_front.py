"""The Pareto front of a search in progress: the cost of one more candidate depends on the front alone."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ffnet_search.metrics import Direction, sign
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import as_minimised, hypervolume, no_worse


class RunningFront:
    """The candidates that none of those added dominates, one per point.

    `bounds`: objective -> its worst and its perfect value; without those of each there is no hypervolume.
    """

    def __init__(self, objectives: Mapping[str, Direction], bounds: Mapping[str, tuple[float, float]]) -> None:
        self.objectives, self.bounds = objectives, bounds
        self.candidates: list[Candidate] = []
        self._points_KM = np.empty((0, len(objectives)))
        self._volume: float | None = None

    def add(self, candidate: Candidate) -> bool:
        """Return whether the candidate is on the front now. Raises ValueError where an objective is not finite."""
        point_M = np.array(as_minimised(candidate, self.objectives))
        if no_worse(self._points_KM, point_M).any():
            return False
        kept_K = ~no_worse(point_M, self._points_KM)
        self.candidates = [other for other, kept in zip(self.candidates, kept_K, strict=True) if kept] + [candidate]
        self._points_KM = np.vstack([self._points_KM[kept_K], point_M])
        self._volume = None
        return True

    @property
    def points(self) -> list[list[float]]:
        """The objectives of each candidate on the front."""
        return [[candidate.metrics[name] for name in self.objectives] for candidate in self.candidates]

    @property
    def best(self) -> dict[str, float]:
        """Objective -> its best value, as a rule each of another candidate; empty without candidates."""
        if not self.candidates:
            return {}
        signed = zip(self.objectives.items(), self._points_KM.min(axis=0).tolist(), strict=True)
        return {name: sign(direction) * value for (name, direction), value in signed}

    @property
    def volume(self) -> float | None:
        """The share, 0 to 1, of the box between the worst and the perfect values that the front dominates."""
        if any(name not in self.bounds for name in self.objectives):
            return None
        if self._volume is None:
            bounds = [self.bounds[name] for name in self.objectives]
            box = math.prod(abs(perfect - worst) for worst, perfect in bounds)
            reference = [worst for worst, _ in bounds]
            dominated = hypervolume(self.points, reference, list(self.objectives.values()))
            self._volume = dominated / box if box else 0.0
        return self._volume
