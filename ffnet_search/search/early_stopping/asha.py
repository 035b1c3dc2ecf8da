"""Early stopping by asynchronous successive halving: ASHA (Li et al., arXiv 1810.05934, its "stopping" variant), for
several objectives MO-ASHA (Schmucker et al., arXiv 2106.12639).

Trials are compared at rungs: after `min_epochs` of training, after `reduction` times as many, and so on. A trial
continues if it is among the best 1/reduction of all that have reached the rung by then, itself included. With several
objectives "best" is the order of non-dominated sorting, and within a front those first that spread over it; metrics
known before training are objectives like the others. The best by each objective continue in addition to that share,
which they would otherwise fill: a search begins with the ends of its space, and nothing between them was promoted.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

import numpy as np

from ffnet_search.config.search_schema import SearchSection
from ffnet_search.metrics import Direction, sign
from ffnet_search.pareto.front import Points, dominator_counts, hypervolume


class SuccessiveHalving:
    """ASHA as a `pruner.StoppingRule`: its state can be rebuilt from the reports.

    A trial that exceeds a limit ranks behind all that do not (Deb 2000). Bracket b is first judged at rung b, and gets
    1/reduction of the trials of the bracket before it. From `max_epochs` on nothing is stopped."""

    def __init__(self, section: SearchSection) -> None:
        self.objectives, self.limits, options = section.directions, section.cost_limits, section.early_stopping
        self.min_epochs, self.reduction, self.brackets = options.min_epochs, options.reduction, options.brackets
        self.max_epochs = options.max_epochs or math.inf
        self.tie_break = TIE_BREAKS[options.tie_break]
        self.rungs: defaultdict[int, dict[str, tuple[float, ...]]] = defaultdict(dict)  # -> key -> excess, objectives
        self.stopped: set[str] = set()
        self._brackets: dict[str, int] = {}

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        """See `pruner.StoppingRule`. Only the first report at or beyond a rung counts there."""
        values = [sign(direction) * metrics[name] for name, direction in self.objectives.items()]
        if not all(map(math.isfinite, values)):
            self.stopped.add(key)
        rung = self._rung(epoch)
        if rung < 0 or epoch >= self.max_epochs or key in self.stopped or key in self.rungs[rung]:
            return key not in self.stopped
        excess = sum(max(0.0, metrics[name] / most - 1) for name, most in self.limits.items() if name in metrics)
        self.rungs[rung][key] = (excess, *values)
        if rung >= self._bracket(key) and not self._is_promoted(key, rung):
            self.stopped.add(key)
        return key not in self.stopped

    def finish(self, key: str) -> None:
        """See `pruner.StoppingRule`. The reports of the trial are enough."""

    def _rung(self, epoch: int) -> int:
        """The last rung that is reached after `epoch` epochs; -1 before the first."""
        rung = -1
        while self.min_epochs * self.reduction ** (rung + 1) <= epoch:
            rung += 1
        return rung

    def _bracket(self, key: str) -> int:
        if key not in self._brackets:
            sizes = Counter(self._brackets.values())
            self._brackets[key] = min(range(self.brackets), key=lambda b: (sizes[b] + 1) * self.reduction**b)
        return self._brackets[key]

    def _is_promoted(self, key: str, rung: int) -> bool:
        entries = self.rungs[rung]
        rows = np.array(list(entries.values()))
        feasible = rows[rows[:, 0] <= 0, 1:]
        ends = len(_ends(feasible)) if len(self.objectives) > 1 and len(feasible) else 0
        places = ends + max(1, (len(rows) - ends) // self.reduction)
        promoted = islice(ranked(rows[:, 1:], rows[:, 0], self.tie_break), places)
        return any(tuple(rows[i]) == entries[key] for i in promoted)  # equal to a promoted one is promoted


TieBreak = Callable[[Points], Iterator[int]]


def ranked(points_NM: Points, excess_N: Points, tie_break: TieBreak) -> Iterator[int]:
    """Indices, best first, computed lazily: front after front of the trials that keep all limits, each in the order of
    `tie_break`, then the others by their excess."""
    left = np.flatnonzero(excess_N <= 0)
    beyond_limits = np.argsort(excess_N, kind="stable")[len(left) :]
    while len(left):
        front_L = dominator_counts(points_NM[left]) == 0
        front = left[front_L]
        points_FM = points_NM[front]
        range_M = np.ptp(points_FM, axis=0)
        scaled_FM = (points_FM - points_FM.min(0)) / np.where(range_M > 0, range_M, 1.0)  # units differ
        yield from (int(front[i]) for i in tie_break(scaled_FM))
        left = left[~front_L]
    yield from (int(i) for i in beyond_limits)


def _ends(points_NM: Points) -> list[int]:
    """The best by each objective, each once."""
    return list(dict.fromkeys(int(i) for i in points_NM.argmin(0)))


def epsilon_net(points_NM: Points) -> Iterator[int]:
    """The best by each objective, then the point that is farthest from all before it, and so on (epsilon net)."""
    distance_N, ends = np.full(len(points_NM), np.inf), _ends(points_NM)
    for place in range(len(points_NM)):
        index = ends[place] if place < len(ends) else int(distance_N.argmax())
        yield index
        distance_N = np.minimum(distance_N, np.linalg.norm(points_NM - points_NM[index], axis=1))
        distance_N[index] = -1.0


def most_hypervolume(points_NM: Points) -> Iterator[int]:
    """The best by each objective, then the point that adds most to the hypervolume up to a tenth beyond the worst."""
    count, dimensions = points_NM.shape
    ways: list[Direction] = ["minimize"] * dimensions
    chosen, ends = list[int](), _ends(points_NM)

    def volume(index: int) -> float:
        return hypervolume(points_NM[[*chosen, index]].tolist(), [1.1] * dimensions, ways)

    for place in range(count):
        left = (i for i in range(count) if i not in chosen)
        chosen.append(ends[place] if place < len(ends) else max(left, key=volume))
        yield chosen[-1]


TIE_BREAKS: dict[str, TieBreak] = {"epsilon_net": epsilon_net, "hypervolume": most_hypervolume}
