"""The Pareto front of a search under way: what one more candidate costs depends on the front, not on all before it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ffnet_search.metrics import Direction
from ffnet_search.pareto.front import Candidate, hypervolume


class Front:
    """Candidates that none of those added dominates, one per point. `worst`: objective -> a value that none is expected
    to be worse than; where one is missing there is no hypervolume."""

    def __init__(self, objectives: Mapping[str, Direction], worst: Mapping[str, float]) -> None:
        self.objectives, self.worst = objectives, worst
        self._signs = [1.0 if direction == "maximize" else -1.0 for direction in objectives.values()]
        self._gains: dict[tuple[float, ...], Candidate] = {}  # more is better, in each objective
        self._volume: float | None = None

    def __len__(self) -> int:
        return len(self._gains)

    def add(self, candidate: Candidate) -> bool:
        """True where it is on the front now. Raises ValueError where an objective is not finite."""
        values = [candidate.metrics[name] for name in self.objectives]
        if not all(map(math.isfinite, values)):
            raise ValueError(f"metrics must be finite, but {candidate.key} has {values}")
        gain = tuple(sign * value for sign, value in zip(self._signs, values, strict=True))
        if any(all(map(float.__ge__, other, gain)) for other in self._gains):
            return False
        self._gains = {
            other: kept for other, kept in self._gains.items() if not all(map(float.__ge__, gain, other))
        } | {gain: candidate}
        self._volume = None
        return True

    @property
    def best(self) -> dict[str, float]:
        """Objective -> its best value, each of another candidate as a rule; empty where there is none."""
        columns = zip(*self._gains, strict=True)
        return {
            name: sign * max(column) for name, sign, column in zip(self.objectives, self._signs, columns, strict=False)
        }

    @property
    def volume(self) -> float | None:
        """The share of what lies between `worst` and perfect (1 where more is better, else 0) that the front dominates:
        0 to 1, and never less than before."""
        if any(name not in self.worst for name in self.objectives):
            return None
        if self._volume is None:
            reference = [self.worst[name] for name in self.objectives]
            perfect = [1.0 if direction == "maximize" else 0.0 for direction in self.objectives.values()]
            box = math.prod(abs(best - worst) for best, worst in zip(perfect, reference, strict=True))
            points = [[sign * x for sign, x in zip(self._signs, gain, strict=True)] for gain in self._gains]
            self._volume = hypervolume(points, reference, list(self.objectives.values())) / box if box else 0.0
        return self._volume
