"""Configurations that a proposal is chosen from, bred from the best that are known."""

from __future__ import annotations

import numpy as np

from ffnet_search.search.samplers.encoding import Array, Encoding

CHANGES = (0.5, 1.0, 2.0, 4.0)  # axes that are changed, as a mean: few or many


def bred(encoding: Encoding, parents_PA: Array, rng: np.random.Generator, count: int) -> Array:
    """Rows (count, A): parents crossed with others, on single axes or a segment of them, and changed on some axes.

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
    moved_SA, near_SA = np.empty_like(rows_SA), rng.random(rows_SA.shape) < 0.5
    for at, axis in enumerate(encoding.axes):
        old_S, count = rows_SA[:, at], len(rows_SA)
        if axis.size:
            step_S = np.clip(old_S + rng.choice([-1, 1], size=count), 0, axis.size - 1)
            other_S = (old_S + rng.integers(1, max(2, axis.size), size=count)) % axis.size
            near_S = near_SA[:, at] & axis.is_ordered
        else:
            step_S = np.clip(old_S + rng.normal(size=count) * 0.3 ** rng.integers(1, 6, size=count), 0, 1)
            other_S, near_S = rng.random(count), near_SA[:, at]
        moved_SA[:, at] = np.where(near_S, step_S, other_S)
    return moved_SA
