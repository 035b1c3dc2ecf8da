"""What a training that was stopped would have ended with, as those tell that went on to their end."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

Pair = tuple[float, float]


class LearningCurves:
    """Of each trial that trained to its end: its metrics on the way, and those that it ended with."""

    def __init__(self) -> None:
        # Epoch -> metric -> its value then, and in the end, of each trial.
        self._pairs: defaultdict[int, defaultdict[str, list[Pair]]] = defaultdict(lambda: defaultdict(list))

    def add(self, reports: Mapping[int, Mapping[str, float]], ending: Mapping[str, float]) -> None:
        """`reports`: epoch -> metrics."""
        for epoch, metrics in reports.items():
            for name in metrics.keys() & ending.keys():
                pair = metrics[name], ending[name]
                if all(map(math.isfinite, pair)):  # a loss that was infinite once is no measure of others
                    self._pairs[epoch][name].append(pair)

    def ending(self, epoch: int, metrics: Mapping[str, float]) -> dict[str, float] | None:
        """Of a trial that had these metrics after `epoch` epochs; None where no other tells of that epoch.

        Each metric has the rank among the endings that it had among the values at that epoch, between two of them in
        proportion; beyond the least or the greatest it keeps its distance from it. So what was behind stays behind,
        whatever the metric's range and direction. What nobody reports (it is known before training) stays as it is.
        """
        pairs: Mapping[str, Sequence[Pair]] = self._pairs.get(epoch, {})
        if not pairs.keys() & metrics.keys():
            return None
        return {name: _extrapolated(x, pairs[name]) if name in pairs else x for name, x in metrics.items()}


def _extrapolated(value: float, pairs: Sequence[Pair]) -> float:
    then, ending = np.sort(pairs, axis=0).T
    return float(np.interp(value, then, ending) + value - np.clip(value, then[0], then[-1]))
