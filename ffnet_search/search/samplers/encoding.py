"""Configurations encoded as rows of numbers, a column for each axis, and their features for surrogates.

The inner product of the features of two configurations is the number of axes on which they agree.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution

from ffnet_search.search.samplers.axis import Array, Axis

SINGLE = np.float32  # the precision of what is computed for thousands of candidates
Single = NDArray[np.float32]


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
