"""Configurations that a proposal is chosen from: crossover and mutation of the best known ones."""

from __future__ import annotations

import numpy as np

from ffnet_search.search.samplers.encoding import Array, Encoding

CHANGES = (0.5, 1.0, 2.0, 4.0)  # axes that are changed, as a mean: few or many


def bred(encoding: Encoding, parents_PA: Array, rng: np.random.Generator, count: int) -> Array:
    """Rows (count, A): crossover of parents with others, on single axes or a segment of them, and mutation of some
    axes.

    Parents with a number on every axis; conditions are for the caller to apply."""
    axes = len(encoding.axes)
    one_SA, two_SA = (parents_PA[rng.integers(len(parents_PA), size=count)] for _ in range(2))
    ends_S2 = np.sort(rng.integers(0, axes + 1, size=(count, 2)), axis=1)
    segment_SA = (np.arange(axes) >= ends_S2[:, :1]) & (np.arange(axes) < ends_S2[:, 1:])
    kind_S1 = rng.random((count, 1))
    crossed_SA = np.where(kind_S1 < 0.3, rng.random((count, axes)) < 0.5, segment_SA & (kind_S1 < 0.6))
    child_SA = np.where(crossed_SA, two_SA, one_SA)
    _exchange(encoding, child_SA, rng)
    changed_SA = rng.random((count, axes)) < rng.choice(CHANGES, size=(count, 1)) / axes
    return np.where(changed_SA, _moved(encoding, child_SA, rng), child_SA)


def _exchange(encoding: Encoding, rows_SA: Array, rng: np.random.Generator) -> None:
    """Exchange, or copy, the choices of two axes with the same choices, in a quarter of the rows; in place."""
    if not encoding.kin.size:
        return
    which = np.flatnonzero(rng.random(len(rows_SA)) < 0.25)
    one, two = encoding.kin[rng.integers(len(encoding.kin), size=len(which))].T
    first, second = rows_SA[which, one], rows_SA[which, two]
    rows_SA[which, one] = second
    rows_SA[which, two] = np.where(rng.random(len(which)) < 0.5, second, first)


def _moved(encoding: Encoding, rows_SA: Array, rng: np.random.Generator) -> Array:
    """Each number replaced: where there is an order by a near one, in half of the cases, else by any other."""
    sizes_A, near_SA, drawn_SA = encoding.sizes_A, rng.random(rows_SA.shape) < 0.5, rng.random(rows_SA.shape)
    step_SA = np.clip(rows_SA + np.where(drawn_SA < 0.5, -1, 1), 0, sizes_A - 1)
    other_SA = (rows_SA + 1 + np.floor(drawn_SA * (sizes_A - 1))) % np.maximum(sizes_A, 1)
    moved_SA = np.where(near_SA & encoding.is_ordered_A, step_SA, other_SA)
    for at in np.flatnonzero(sizes_A == 0):
        step_S = rng.normal(size=len(rows_SA)) * 0.3 ** rng.integers(1, 6, size=len(rows_SA))
        moved_SA[:, at] = np.where(near_SA[:, at], np.clip(rows_SA[:, at] + step_S, 0, 1), drawn_SA[:, at])
    return moved_SA
