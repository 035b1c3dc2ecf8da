"""The final metrics of a stopped training, extrapolated from the trainings that were not stopped."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

Pair = tuple[float, float]


class LearningCurves:
    """The metrics of all trials that trained to their end, after each epoch and at the end."""

    def __init__(self) -> None:
        # Epoch -> metric -> (value at that epoch, final value) of each trial.
        self._pairs: defaultdict[int, defaultdict[str, list[Pair]]] = defaultdict(lambda: defaultdict(list))

    def add(self, reports: Mapping[int, Mapping[str, float]], ending: Mapping[str, float]) -> None:
        """Add a trial. `reports`: epoch -> metrics; `ending`: its final metrics."""
        for epoch, metrics in reports.items():
            for name in metrics.keys() & ending.keys():
                pair = metrics[name], ending[name]
                if all(map(math.isfinite, pair)):  # an infinite loss says nothing of other trials
                    self._pairs[epoch][name].append(pair)

    def ending(self, epoch: int, metrics: Mapping[str, float]) -> dict[str, float] | None:
        """The final metrics of a trial with these metrics after `epoch` epochs; None where no trial reported then.

        Each reported metric keeps its rank, by linear interpolation between the values of the others at that epoch and
        their final values; beyond the least or the greatest it keeps its distance.
        """
        pairs: Mapping[str, Sequence[Pair]] = self._pairs.get(epoch, {})
        if not pairs.keys() & metrics.keys():
            return None
        return {name: _extrapolated(x, pairs[name]) if name in pairs else x for name, x in metrics.items()}


def _extrapolated(value: float, pairs: Sequence[Pair]) -> float:
    then, ending = np.sort(pairs, axis=0).T
    return float(np.interp(value, then, ending) + value - np.clip(value, then[0], then[-1]))
