"""The inputs of a surrogate: configurations as features, and the terms of a kernel that depend on these alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from ffnet_search.search.samplers.axis import Array
from ffnet_search.search.samplers.encoding import SINGLE, Encoding, Single

Floats = TypeVar("Floats", Array, Single)


@dataclass(frozen=True)
class Inputs:
    """Configurations as features of all axes (N, F), and the counts and slopes (N, C) of families.

    The terms that the kernels of several surrogates share are computed once: they take most of the time of a
    proposal."""

    features_NF: Single
    counts_NC: Single
    slopes_NC: Single
    _subsets: dict[bytes, Inputs] = field(default_factory=dict, compare=False)
    _cross: dict[int, tuple[Inputs, Single, Single, Single]] = field(default_factory=dict, compare=False)
    _joined: dict[int, tuple[Inputs, Inputs]] = field(default_factory=dict, compare=False)
    _terms: list[tuple[list[Array], Array | None]] = field(default_factory=list, compare=False)

    @classmethod
    def of(cls, encoding: Encoding, rows_NA: Array) -> Inputs:
        """The inputs of rows (N, A)."""
        features_NF = encoding.features(rows_NA)
        return cls(features_NF, features_NF @ encoding.counts_FC, features_NF @ encoding.slopes_FC)

    def terms(self, encoding: Encoding) -> tuple[list[Array], Array | None]:
        """The terms of the kernel (N, N) that depend on no effects, in double precision: the linear ones, and the
        radial basis function of counts, None if there are no families."""
        if not self._terms:
            tables = [self.features_NF, *([self.counts_NC, self.slopes_NC] if encoding.pairs_P2.size else [])]
            doubles = [table.astype(np.float64) for table in tables]
            divisors = [len(encoding.axes), encoding.largest_family, encoding.largest_family]
            linear = [x @ x.T / by for x, by in zip(doubles, divisors, strict=False)]
            counts_rbf = np.exp(squared_distances(doubles[1], doubles[1]) / -6) if encoding.pairs_P2.size else None
            self._terms.append((linear, counts_rbf))
        return self._terms[0]

    def cross_terms(self, others: Inputs, encoding: Encoding) -> tuple[Single, Single, Single]:
        """The share of axes that agree, the radial basis function of counts and its cube (N, N'), in single
        precision."""
        if id(others) not in self._cross:
            overlap_NN = self.features_NF @ (others.features_NF.T / SINGLE(len(encoding.axes)))
            rbf_NN = squared_distances(self.counts_NC, others.counts_NC)
            rbf_NN /= -6
            np.exp(rbf_NN, out=rbf_NN)
            # The others are kept, so that no later object has their id.
            self._cross[id(others)] = others, overlap_NN, rbf_NN, rbf_NN * rbf_NN * rbf_NN
        return self._cross[id(others)][1:]

    def take(self, indices: np.ndarray | Sequence[int]) -> Inputs:
        """The inputs at these indices: the same object for the same indices."""
        key = np.asarray(indices).tobytes()
        if key not in self._subsets:
            self._subsets[key] = Inputs(self.features_NF[indices], self.counts_NC[indices], self.slopes_NC[indices])
        return self._subsets[key]

    def joined(self, other: Inputs) -> Inputs:
        """These inputs followed by others: the same object for the same others."""
        if id(other) not in self._joined:
            features_NF = np.vstack([self.features_NF, other.features_NF])
            counts_NC = np.vstack([self.counts_NC, other.counts_NC])
            slopes_NC = np.vstack([self.slopes_NC, other.slopes_NC])
            # The other is kept, so that no later object has its id.
            self._joined[id(other)] = other, Inputs(features_NF, counts_NC, slopes_NC)
        return self._joined[id(other)][1]


def squared_distances(a: Floats, b: Floats) -> Floats:
    """Squared Euclidean distances (N, N') between rows, by one product of matrices."""
    ones_N1, ones_M1 = np.ones_like(a[:, :1]), np.ones_like(b[:, :1])
    squares_N1, squares_M1 = (a * a).sum(axis=1, keepdims=True), (b * b).sum(axis=1, keepdims=True)
    squared_NM = np.hstack([-2 * a, squares_N1, ones_N1]) @ np.hstack([b, ones_M1, squares_M1]).T
    return np.maximum(squared_NM, 0, out=squared_NM)
