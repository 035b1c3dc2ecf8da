"""Configurations encoded as rows of numbers, and their features for surrogates.

A row has a column for each axis: the index of a choice, or a position in 0..1 of a range with too many values to list;
NaN where a configuration lacks the axis. Each axis gives a feature vector of length one: the choice one-hot and, where
choices are numbers in order or the axis is a range, radial basis functions along it, so that neighbours are similar.
The inner product of the features of two configurations is then the number of axes on which they agree.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

Array = NDArray[np.float64]
SINGLE = np.float32  # the precision of what is computed for thousands of candidates
Single = NDArray[np.float32]
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


class Encoding:
    """The axes of a space, in the order in which they were first seen; `conditional`: those that some trials lack.

    Axes with the same choices are a family, whose features lie side by side. `counts_FC` maps features to counts of a
    family's choices, `slopes_FC` to whether these come early or late in the family, and `sums_FA` to their axes.
    `largest_family`: its number of axes. `pairs_P2`: the pairs of axes of one family."""

    def __init__(self, space: Mapping[str, BaseDistribution], conditional: Collection[str] = ()) -> None:
        self.names = list(space)
        self.axes = [Axis(one, name in conditional) for name, one in space.items()]
        self.sizes_A = np.array([axis.size for axis in self.axes])
        self.is_ordered_A = np.array([axis.is_ordered for axis in self.axes])
        families: dict[str, list[int]] = {}
        for index, axis in enumerate(self.axes):
            families.setdefault(axis.family, []).append(index)
        self._families = list(families.values())
        order = [index for members in self._families for index in members]
        widths = np.array([self.axes[index].width for index in order])
        self.sums_FA = np.repeat(np.eye(len(order), dtype=SINGLE), widths, axis=0)[:, np.argsort(order)]
        shared = [members for members in self._families if len(members) > 1]
        columns = sum(self.axes[members[0]].width for members in shared)
        self.counts_FC, self.slopes_FC = np.zeros((2, int(widths.sum()), columns), dtype=SINGLE)
        end = 0
        for members in shared:
            eye, count = np.eye(self.axes[members[0]].width), len(members)
            end += len(eye)
            for rank, index in enumerate(members):
                features = np.flatnonzero(self.sums_FA[:, index])
                self.counts_FC[features, end - len(eye) : end] = eye / math.sqrt(count)
                slope = math.sqrt(3 / count) * (2 * rank / (count - 1) - 1)
                self.slopes_FC[features, end - len(eye) : end] = eye * slope
        self.largest_family = max(map(len, shared), default=1)
        pairs = [(one, two) for members in shared for one in members for two in members if one != two]
        self.pairs_P2 = np.array(pairs, dtype=np.int64).reshape(-1, 2)

    def snapped(self, rows_NA: Array) -> Array:
        """The rows (N, A) with the number of the nearest value on ranges of integers or steps."""
        rows_NA = rows_NA.copy()
        for index, axis in enumerate(self.axes):
            if axis.is_snapped:
                numbers, inverse = np.unique(rows_NA[:, index], return_inverse=True)
                exact = [x if math.isnan(x) else axis.encode(axis.decode(x)) for x in numbers.tolist()]
                rows_NA[:, index] = np.array(exact)[inverse.reshape(-1)]
        return rows_NA

    def row(self, params: Mapping[str, Any]) -> Array:
        """The row (A,) of a configuration's parameters; NaN on the axes that it lacks."""
        named = zip(self.names, self.axes, strict=True)
        return np.array([axis.encode(params[name]) if name in params else np.nan for name, axis in named])

    def params(self, row_A: Array) -> dict[str, Any]:
        """The parameters of a row, without those that it lacks."""
        named = zip(self.names, self.axes, row_A.tolist(), strict=True)
        return {name: axis.decode(number) for name, axis, number in named if not math.isnan(number)}

    def features(self, rows_NA: Array) -> Single:
        """The features (N, F) of all axes, family by family."""
        parts = [self.axes[members[0]].features(rows_NA[:, members]) for members in self._families]
        return np.hstack(
            [part.reshape(len(rows_NA), math.prod(part.shape[1:])) for part in parts], dtype=SINGLE, casting="same_kind"
        )

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        """Random rows (count, A), with a number on every axis."""
        return np.stack([axis.draw(rng, count) for axis in self.axes], axis=1)


def identities(rows_NA: Array) -> list[bytes]:
    """The identity of each row (N, A): bytes that are equal for equal rows."""
    rounded_NA = np.round(np.nan_to_num(rows_NA, nan=-1.0) * 1e6).astype(np.int64)
    data, width = rounded_NA.tobytes(), rounded_NA[:1].nbytes
    return [data[index : index + width] for index in range(0, len(data), max(1, width))]


class Conditions:
    """The conditions between axes, learnt from the rows of trials (N, A): which axes are present only with certain
    choices of another axis."""

    def __init__(self, rows_NA: Array) -> None:
        lacking_NA = np.isnan(rows_NA)
        lacking_A = lacking_NA.sum(axis=0)
        self.rules: list[tuple[int, int, Array]] = []  # axis, another, the numbers of this at which the axis is absent
        partial = np.flatnonzero((lacking_A > 0) & (lacking_A < len(rows_NA)))
        if not len(partial):
            return
        numbers_NA = np.where(lacking_NA, -1.0, rows_NA)
        values = [np.unique(numbers_N) for numbers_N in numbers_NA.T]
        order = [index for index in np.argsort(lacking_A, kind="stable").tolist() if len(values[index]) <= MAX_CHOICES]
        if not order:  # all are ranges
            return
        has_NV = np.hstack([numbers_NA[:, [index]] == values[index] for index in order]).astype(np.float64)
        absent_SV = lacking_NA[:, partial].T.astype(np.float64) @ has_NV  # counts
        is_absent_SV, is_present_SV = absent_SV > 0, has_NV.sum(axis=0) - absent_SV > 0
        both_SV, starts = is_absent_SV & is_present_SV, np.cumsum([0, *(len(values[index]) for index in order)])
        is_clear_SO = np.add.reduceat(both_SV, starts[:-1], axis=1, dtype=np.int64) == 0
        for row in np.argsort(lacking_A[partial], kind="stable").tolist():
            for column in np.flatnonzero(is_clear_SO[row]).tolist():
                if order[column] != partial[row]:
                    absent_V = is_absent_SV[row, starts[column] : starts[column + 1]]
                    self.rules.append((int(partial[row]), order[column], values[order[column]][absent_V]))
                    break

    def keep(self, rows_NA: Array) -> Array:
        """The rows (N, A) with NaN on axes without effect."""
        rows_NA = rows_NA.copy()
        if not self.rules:
            return rows_NA
        numbers_NA = np.nan_to_num(rows_NA, nan=-1.0)
        for _ in self.rules:  # a condition may depend on an axis that has one itself
            before = np.count_nonzero(numbers_NA < 0)
            for axis, other, absent_V in self.rules:
                numbers_NA[(numbers_NA[:, [other]] == absent_V).any(axis=1), axis] = -1
            if np.count_nonzero(numbers_NA < 0) == before:
                break
        rows_NA[numbers_NA < 0] = np.nan
        return rows_NA
