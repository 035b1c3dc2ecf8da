"""Candidates that a proposal is chosen from: offspring of the best trials, by crossover and mutation."""

from __future__ import annotations

import numpy as np

from ffnet_search.search.samplers.axis import Array
from ffnet_search.search.samplers.encoding import Encoding

MUTATED_AXES = (0.5, 1.0, 2.0, 4.0)  # the mean number of mutated axes: one of these for each row


def offspring(encoding: Encoding, parents_PA: Array, rng: np.random.Generator, count: int) -> Array:
    """Offspring (count, A) of parents (P, A): uniform or two-point crossover of pairs, then mutation of some axes.

    The parents have a number on every axis; the caller applies the conditions."""
    axes = len(encoding.axes)
    one_SA, two_SA = (parents_PA[rng.integers(len(parents_PA), size=count)] for _ in range(2))
    ends_S2 = np.sort(rng.integers(0, axes + 1, size=(count, 2)), axis=1)
    segment_SA = (np.arange(axes) >= ends_S2[:, :1]) & (np.arange(axes) < ends_S2[:, 1:])
    kind_S1 = rng.random((count, 1))
    crossed_SA = np.where(kind_S1 < 0.3, rng.random((count, axes)) < 0.5, segment_SA & (kind_S1 < 0.6))
    child_SA = np.where(crossed_SA, two_SA, one_SA)
    _exchange(encoding, child_SA, rng)
    is_mutated_SA = rng.random((count, axes)) < rng.choice(MUTATED_AXES, size=(count, 1)) / axes
    return np.where(is_mutated_SA, _mutated(encoding, child_SA, rng), child_SA)


def _exchange(encoding: Encoding, rows_SA: Array, rng: np.random.Generator) -> None:
    """Exchange or copy the values of two axes of a family, in a quarter of the rows, in place."""
    if not encoding.pairs_P2.size:
        return
    picked = np.flatnonzero(rng.random(len(rows_SA)) < 0.25)
    one, two = encoding.pairs_P2[rng.integers(len(encoding.pairs_P2), size=len(picked))].T
    first, second = rows_SA[picked, one], rows_SA[picked, two]
    rows_SA[picked, one] = second
    rows_SA[picked, two] = np.where(rng.random(len(picked)) < 0.5, second, first)


def _mutated(encoding: Encoding, rows_SA: Array, rng: np.random.Generator) -> Array:
    """Mutate each number (S, A): in half of the cases on ordered axes to a neighbour, else to any other."""
    sizes_A, near_SA, drawn_SA = encoding.sizes_A, rng.random(rows_SA.shape) < 0.5, rng.random(rows_SA.shape)
    step_SA = np.clip(rows_SA + np.where(drawn_SA < 0.5, -1, 1), 0, sizes_A - 1)
    other_SA = (rows_SA + 1 + np.floor(drawn_SA * (sizes_A - 1))) % np.maximum(sizes_A, 1)
    mutated_SA = np.where(near_SA & encoding.is_ordered_A, step_SA, other_SA)
    for axis in np.flatnonzero(sizes_A == 0):
        step_S = rng.normal(size=len(rows_SA)) * 0.3 ** rng.integers(1, 6, size=len(rows_SA))
        mutated_SA[:, axis] = np.where(near_SA[:, axis], np.clip(rows_SA[:, axis] + step_S, 0, 1), drawn_SA[:, axis])
    return mutated_SA
