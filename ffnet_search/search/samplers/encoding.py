"""Configurations encoded as rows of numbers, and their features for surrogates.

A row has a column an axis: the index of a choice, or a number in 0..1 of a range with too many values to list; NaN
where a configuration lacks the axis. Each axis gives a feature vector of length one: the choice one-hot and, where
choices are numbers in order or the axis is a range, bumps along it, so that neighbours are alike. The product of the
features of two configurations is then the number of axes on which they agree.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

Array = NDArray[np.float64]
SINGLE = np.float32  # of what is computed for thousands of candidates
Single = NDArray[np.float32]
LISTED = 16  # values of a range up to which each is a choice
BUMPS = 6  # along a range


class Axis:
    """One parameter. `size`: its number of choices, 0 for a range that is not listed."""

    def __init__(self, distribution: BaseDistribution, conditional: bool = False) -> None:
        self.distribution, self.conditional = distribution, conditional
        self.values = _listed(distribution)
        self.size = len(self.values)
        table_VF = _table(self.values)
        self.is_ordered = table_VF.shape[1] > self.size
        self.table_VF = np.hstack([np.zeros((self.size, 1)), table_VF]) if conditional else table_VF
        self.width = self.table_VF.shape[1] if self.size else BUMPS + conditional
        is_double = [self.encode(value) for value in self.values] != list(range(self.size))  # as 1 and True are
        self.is_snapped = is_double if self.size else bool(distribution.step)
        self.family = repr((self.values or distribution, conditional))

    def encode(self, value: Any) -> float:
        """The number of a value; of the nearest one, where the range has changed."""
        if value in self.values:
            return float(self.values.index(value))
        if self.size:
            return float(np.argmin([abs(value - one) for one in self.values]))
        low, high = self._ends
        at = math.log(value) if self._is_log and value > 0 else value
        return min(1.0, max(0.0, (at - low) / (high - low)))

    def decode(self, number: float) -> Any:
        """The value of a number."""
        if self.size:
            return self.values[int(number)]
        low, high = self._ends
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
    def _ends(self) -> tuple[float, float]:
        low, high = self.distribution.low, self.distribution.high
        return (math.log(low), math.log(high)) if self._is_log else (low, high)


def _listed(distribution: BaseDistribution) -> tuple[Any, ...]:
    """The values of an axis that is a list of choices; empty if it is a range."""
    if isinstance(distribution, CategoricalDistribution):
        return tuple(distribution.choices)
    if distribution.single():
        return (distribution.low,)
    if distribution.step and not distribution.log:
        count = round((distribution.high - distribution.low) / distribution.step) + 1
        if count <= LISTED:
            return tuple(distribution.low + at * distribution.step for at in range(count))
    return ()


def _table(values: Sequence[Any]) -> Array:
    """(V, F): one-hot, and bumps where three or more values are numbers in order."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    in_order = len(numbers) == len(values) > 2 and numbers in (sorted(numbers), sorted(numbers, reverse=True))
    if not in_order:
        return np.eye(len(values))
    bumps_VB = _bumps(np.arange(len(values)) / (len(values) - 1))
    return np.hstack([np.eye(len(values)), bumps_VB]) / math.sqrt(2)


def _bumps(at: Array) -> Array:
    """Bumps along places in 0 to 1, (..., B): normal curves around `BUMPS` even centres, of length one."""
    bumps = np.exp(-0.5 * ((at[..., None] - np.linspace(0, 1, BUMPS)) * (BUMPS - 1) / 1.2) ** 2)
    return np.asarray(bumps / np.linalg.norm(bumps, axis=-1, keepdims=True))


class Encoding:
    """The axes of a space, in the order in which they were first seen; `conditional`: those that some lack.

    Axes with the same choices are a family, whose features lie side by side. Counts of its choices are features too
    (`counts_FC`), and so is whether they come early or late (`slopes_FC`). `sums_FA` sums over an axis' features."""

    def __init__(self, space: Mapping[str, BaseDistribution], conditional: Collection[str] = ()) -> None:
        self.names = list(space)
        self.axes = [Axis(one, name in conditional) for name, one in space.items()]
        self.sizes_A = np.array([axis.size for axis in self.axes])
        self.is_ordered_A = np.array([axis.is_ordered for axis in self.axes])
        families: dict[str, list[int]] = {}
        for at, axis in enumerate(self.axes):
            families.setdefault(axis.family, []).append(at)
        self._families = list(families.values())
        order = [at for members in self._families for at in members]
        widths = np.array([self.axes[at].width for at in order])
        self.sums_FA = np.repeat(np.eye(len(order), dtype=SINGLE), widths, axis=0)[:, np.argsort(order)]
        shared = [members for members in self._families if len(members) > 1]
        columns = sum(self.axes[members[0]].width for members in shared)
        self.counts_FC, self.slopes_FC = np.zeros((2, int(widths.sum()), columns), dtype=SINGLE)
        end = 0
        for members in shared:
            eye, count = np.eye(self.axes[members[0]].width), len(members)
            end += len(eye)
            for order_in, at in enumerate(members):
                features = np.flatnonzero(self.sums_FA[:, at])
                self.counts_FC[features, end - len(eye) : end] = eye / math.sqrt(count)
                slope = math.sqrt(3 / count) * (2 * order_in / (count - 1) - 1)
                self.slopes_FC[features, end - len(eye) : end] = eye * slope
        self.most_alike = max(map(len, shared), default=1)
        kin = [(one, two) for members in shared for one in members for two in members if one != two]
        self.kin = np.array(kin, dtype=np.int64).reshape(-1, 2)  # pairs of axes with the same choices

    def snapped(self, rows_NA: Array) -> Array:
        """The rows with the numbers that their values have: a range of integers or steps has numbers without one."""
        rows_NA = rows_NA.copy()
        for at, axis in enumerate(self.axes):
            if axis.is_snapped:
                numbers, places = np.unique(rows_NA[:, at], return_inverse=True)
                exact = [x if math.isnan(x) else axis.encode(axis.decode(x)) for x in numbers.tolist()]
                rows_NA[:, at] = np.array(exact)[places.reshape(-1)]
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
        """(N, F): the features of all axes side by side, family by family."""
        parts = [self.axes[members[0]].features(rows_NA[:, members]) for members in self._families]
        return np.hstack(
            [part.reshape(len(rows_NA), math.prod(part.shape[1:])) for part in parts], dtype=SINGLE, casting="same_kind"
        )

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        """Random rows (count, A), with a number on every axis."""
        return np.stack([axis.draw(rng, count) for axis in self.axes], axis=1)


def identities(rows_NA: Array) -> list[bytes]:
    """The identity of each row: bytes that are equal for equal rows."""
    whole_NA = np.round(np.nan_to_num(rows_NA, nan=-1.0) * 1e6).astype(np.int64)
    everything, width = whole_NA.tobytes(), whole_NA[:1].nbytes
    return [everything[at : at + width] for at in range(0, len(everything), max(1, width))]


class Conditions:
    """The axes that have an effect only beside certain choices of another, learnt from the rows of trials (N, A)."""

    def __init__(self, rows_NA: Array) -> None:
        lacking_NA = np.isnan(rows_NA)
        lacking_A = lacking_NA.sum(axis=0)
        self.found: list[tuple[int, int, Array]] = []  # axis, the other, its numbers beside which there is none
        some = np.flatnonzero((lacking_A > 0) & (lacking_A < len(rows_NA)))
        if not len(some):
            return
        numbers_NA = np.where(lacking_NA, -1.0, rows_NA)
        values = [np.unique(numbers_N) for numbers_N in numbers_NA.T]
        order = [at for at in np.argsort(lacking_A, kind="stable").tolist() if len(values[at]) <= LISTED]
        if not order:  # all are ranges
            return
        has_NV = np.hstack([numbers_NA[:, [at]] == values[at] for at in order]).astype(np.float64)
        absent_SV = lacking_NA[:, some].T.astype(np.float64) @ has_NV  # how often
        is_absent_SV, is_present_SV = absent_SV > 0, has_NV.sum(axis=0) - absent_SV > 0
        both_SV, starts = is_absent_SV & is_present_SV, np.cumsum([0, *(len(values[at]) for at in order)])
        is_clear_SO = np.add.reduceat(both_SV, starts[:-1], axis=1, dtype=np.int64) == 0
        for row in np.argsort(lacking_A[some], kind="stable").tolist():
            for place in np.flatnonzero(is_clear_SO[row]).tolist():
                if order[place] != some[row]:
                    absent_V = is_absent_SV[row, starts[place] : starts[place + 1]]
                    self.found.append((int(some[row]), order[place], values[order[place]][absent_V]))
                    break

    def keep(self, rows_NA: Array) -> Array:
        """The rows, with NaN on axes without effect."""
        rows_NA = rows_NA.copy()
        if not self.found:
            return rows_NA
        numbers_NA = np.nan_to_num(rows_NA, nan=-1.0)
        for _ in self.found:  # a condition may name an axis that has one: as a rule one that comes before
            before = np.count_nonzero(numbers_NA < 0)
            for axis, other, absent_V in self.found:
                numbers_NA[(numbers_NA[:, [other]] == absent_V).any(axis=1), axis] = -1
            if np.count_nonzero(numbers_NA < 0) == before:
                break
        rows_NA[numbers_NA < 0] = np.nan
        return rows_NA
