"""One axis of a space: its values as numbers, and the features of these numbers.

A number is the index of a choice, or a position in 0..1 of a range with too many values to list; NaN where a
configuration lacks the axis. The features are a vector of length one: the choice one-hot and, where choices are numbers
in order or the axis is a range, radial basis functions along it, so that neighbours are similar.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

Array = NDArray[np.float64]
MAX_CHOICES = 16  # values, up to which those of a range are choices
BUMPS = 6  # radial basis functions along a range


class Axis:
    """One parameter of a space.

    `size`: its number of choices, 0 for a range. `conditional`: some configurations lack it. `family`: the same for
    axes with the same choices. `is_snapped`: several numbers have the same value."""

    def __init__(self, distribution: BaseDistribution, conditional: bool = False) -> None:
        self.distribution, self.conditional = distribution, conditional
        self.values = _choices(distribution)
        self.size = len(self.values)
        table_VF = _feature_table(self.values)
        self.is_ordered = table_VF.shape[1] > self.size
        self.table_VF = np.hstack([np.zeros((self.size, 1)), table_VF]) if conditional else table_VF
        self.width = self.table_VF.shape[1] if self.size else BUMPS + conditional
        has_equal = [self.encode(value) for value in self.values] != list(range(self.size))  # as 1 == True
        self.is_snapped = has_equal if self.size else bool(distribution.step)
        self.family = repr((self.values or distribution, conditional))

    def encode(self, value: Any) -> float:
        """The number of a value, or of the nearest one where the range has changed."""
        if value in self.values:
            return float(self.values.index(value))
        if self.size:
            return float(np.argmin([abs(value - one) for one in self.values]))
        low, high = self._bounds
        position = math.log(value) if self._is_log and value > 0 else value
        return min(1.0, max(0.0, (position - low) / (high - low)))

    def decode(self, number: float) -> Any:
        """The value of a number."""
        if self.size:
            return self.values[int(number)]
        low, high = self._bounds
        value = low + number * (high - low)
        value = math.exp(value) if self._is_log else value
        low, high, step = self.distribution.low, self.distribution.high, self.distribution.step
        if step:
            value = low + step * round((value - low) / step)
        value = min(high, max(low, value))
        return round(value) if isinstance(self.distribution, IntDistribution) else float(value)

    def features(self, numbers_NA: Array) -> Array:
        """The features (N, A, width), each of length one, of numbers of axes with the same choices."""
        lacking_NA = np.isnan(numbers_NA)
        known_NA = np.where(lacking_NA, 0.0, numbers_NA)
        if self.size:
            features_NAF = self.table_VF[known_NA.astype(np.int64)]
        else:
            features_NAF = _bumps(known_NA)
            if self.conditional:
                features_NAF = np.concatenate([np.zeros((*known_NA.shape, 1)), features_NAF], axis=-1)
        if lacking_NA.any():
            features_NAF[lacking_NA] = 0
            features_NAF[lacking_NA, 0] = 1
        return np.asarray(features_NAF)

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        """Random numbers (count,), uniform."""
        drawn = rng.random(count)
        return np.floor(drawn * self.size) if self.size else drawn

    @property
    def _is_log(self) -> bool:
        return bool(self.distribution.log)

    @property
    def _bounds(self) -> tuple[float, float]:
        """The ends of a range, as logarithms if it is logarithmic."""
        low, high = self.distribution.low, self.distribution.high
        return (math.log(low), math.log(high)) if self._is_log else (low, high)


def _choices(distribution: BaseDistribution) -> tuple[Any, ...]:
    """The values of an axis that is a list of choices; empty if it is a range."""
    if isinstance(distribution, CategoricalDistribution):
        return tuple(distribution.choices)
    if distribution.single():
        return (distribution.low,)
    if distribution.step and not distribution.log:
        count = round((distribution.high - distribution.low) / distribution.step) + 1
        if count <= MAX_CHOICES:
            return tuple(distribution.low + index * distribution.step for index in range(count))
    return ()


def _feature_table(values: Sequence[Any]) -> Array:
    """The features (V, F) of choices: one-hot, and radial basis functions where three or more choices are numbers in
    order."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    in_order = len(numbers) == len(values) > 2 and numbers in (sorted(numbers), sorted(numbers, reverse=True))
    if not in_order:
        return np.eye(len(values))
    bumps_VB = _bumps(np.arange(len(values)) / (len(values) - 1))
    return np.hstack([np.eye(len(values)), bumps_VB]) / math.sqrt(2)


def _bumps(positions: Array) -> Array:
    """Radial basis functions (..., B) of positions (...) in 0..1, around `BUMPS` even centres; each vector of length
    one."""
    bumps = np.exp(-0.5 * ((positions[..., None] - np.linspace(0, 1, BUMPS)) * (BUMPS - 1) / 1.2) ** 2)
    return np.asarray(bumps / np.linalg.norm(bumps, axis=-1, keepdims=True))
