"""Dominance, the Pareto front and its hypervolume.

Points are rows of arrays (N, M): N points, M objectives, all of them to be minimised (`as_minimised`).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ffnet_search.metrics import Direction, sign
from ffnet_search.pareto.candidate import Candidate

Points = NDArray[np.float64]


def as_minimised(candidate: Candidate, objectives: Mapping[str, Direction]) -> tuple[float, ...]:
    """The objectives of a candidate, such that less is better. Raises ValueError if one is not finite."""
    values = tuple(candidate.metrics[name] for name in objectives)
    if not all(map(math.isfinite, values)):
        raise ValueError(f"metrics must be finite, but {candidate.key} has {values}")
    return tuple(sign(direction) * value for direction, value in zip(objectives.values(), values, strict=True))


def no_worse(a: Points, b: Points) -> NDArray[np.bool_]:
    """True if `a` is at least as good as `b` in every objective: (..., M) and (..., M) give (...)."""
    return np.asarray((a <= b).all(axis=-1))


def dominates(a: Points, b: Points) -> NDArray[np.bool_]:
    """True if `a` is no worse than `b` in every objective and better in one: (..., M) and (..., M) give (...)."""
    return no_worse(a, b) & ~no_worse(b, a)


def dominator_counts(points_NM: Points) -> NDArray[np.int64]:
    """The number of points that dominate each point (N,): its rank by Fonseca and Fleming (1993)."""
    if points_NM.shape[1] == 2:
        return _dominator_counts_of_two(points_NM)
    no_worse_NN = np.ones((len(points_NM), len(points_NM)), dtype=np.bool_)
    for x_N in points_NM.T:
        no_worse_NN &= x_N[:, None] <= x_N
    counts: NDArray[np.int64] = (no_worse_NN & ~no_worse_NN.T).sum(axis=0)
    return counts


def _dominator_counts_of_two(points_N2: Points) -> NDArray[np.int64]:
    """Dominator counts for two objectives in N log N comparisons: of the points before one in lexicographic order,
    those that are no worse in the second objective."""
    counts: NDArray[np.int64] = np.zeros(len(points_N2), dtype=np.int64)
    seconds: list[float] = []
    last, equal = (math.nan, math.nan), 0
    for index in np.lexsort(points_N2.T[::-1]).tolist():
        first, second = points_N2[index].tolist()
        equal = equal + 1 if (first, second) == last else 0
        last = first, second
        place = bisect_right(seconds, second)
        counts[index] = place - equal
        seconds.insert(place, second)
    return counts


def pareto_front(candidates: Sequence[Candidate], objectives: Mapping[str, Direction]) -> list[Candidate]:
    """The candidates that no other dominates, one per point, ordered by the first objective, best first."""
    points = [as_minimised(candidate, objectives) for candidate in candidates]
    points_NM = np.array(points).reshape(len(points), len(objectives))
    # In this order no later point dominates an earlier one, so a comparison with the front so far is enough.
    front: list[int] = []
    for i in sorted(range(len(points)), key=points.__getitem__):
        if not no_worse(points_NM[front], points_NM[i]).any():
            front.append(i)
    return [candidates[i] for i in front]


def hypervolume(
    points: Sequence[Sequence[float]], reference: Sequence[float], directions: Sequence[Direction]
) -> float:
    """The volume that `points` dominate up to `reference`, exact for any number of objectives. A point that is not
    better than the reference in every objective adds nothing."""
    signs = [sign(direction) for direction in directions]
    gains = [tuple(s * (r - x) for s, x, r in zip(signs, point, reference, strict=True)) for point in points]
    return _volume([gain for gain in gains if all(g > 0 for g in gain)])


def _volume(gains: list[tuple[float, ...]]) -> float:
    """The union of boxes from the origin to each gain, sliced along the last objective."""
    if not gains:
        return 0.0
    if len(gains[0]) == 1:
        return max(gain[0] for gain in gains)
    volume, previous = 0.0, 0.0
    for height in sorted({gain[-1] for gain in gains}):
        volume += (height - previous) * _volume([gain[:-1] for gain in gains if gain[-1] >= height])
        previous = height
    return volume


class RunningFront:
    """The Pareto front of the candidates added so far, one per point; adding one takes time linear in its length.

    `bounds`: objective -> its worst and its perfect value; without those of each there is no hypervolume."""

    def __init__(self, objectives: Mapping[str, Direction], bounds: Mapping[str, tuple[float, float]]) -> None:
        self.objectives, self.bounds = objectives, bounds
        self.candidates: list[Candidate] = []
        self._points_KM = np.empty((0, len(objectives)))
        self._volume: float | None = None

    def add(self, candidate: Candidate) -> bool:
        """Return whether the candidate is on the front now. Raises ValueError if an objective is not finite."""
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
        """Objective -> its best value over all candidates (the ideal point); empty without candidates."""
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
