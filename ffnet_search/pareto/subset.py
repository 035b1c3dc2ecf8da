"""The most representative part of a front: the subset of the largest hypervolume, with both ends.

Points are rows (N, M), to be minimised. The reference point is the worst value of each objective on the front, so the
ends add no volume and are taken anyway.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ffnet_search.metrics import Direction
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import Points, as_minimised, hypervolume


def choose(
    front: Sequence[Candidate], top: int, objectives: Mapping[str, Direction], wanted: Collection[str] = ()
) -> list[Candidate]:
    """Choose at most `top` candidates of a front, in its order: its ends, the best by each objective, then those whose
    keys are `wanted`, and those that together with these dominate the largest volume."""
    if len(front) <= top:
        return list(front)
    points_NM = np.array([as_minimised(candidate, objectives) for candidate in front])
    rows = [index for index, candidate in enumerate(front) if candidate.key in wanted]
    return [front[index] for index in largest_subset(points_NM, top, rows)]


def largest_subset(points_NM: Points, count: int, wanted: Sequence[int] = ()) -> list[int]:
    """Choose `count` rows, ascending: the best by each objective, the first objective's first, then `wanted` ones, and
    the rest by volume.

    Exact for two objectives, by dynamic programming (Auger et al., 2009); greedy for others."""
    first = int(np.lexsort(points_NM.T[::-1])[0])  # of equal ones the best by the other objectives
    others = [int(points_NM[:, axis].argmin()) for axis in range(1, points_NM.shape[1])]
    given = list(dict.fromkeys([first, *others, *wanted]))
    if count <= len(given):
        return sorted(given[:count])
    if points_NM.shape[1] == 2:
        return sorted(_of_two(points_NM, count, wanted))
    return sorted(_greedy(points_NM, given, count))


def _of_two(points_N2: Points, count: int, wanted: Sequence[int]) -> list[int]:
    """The subset for two objectives: each point after the first adds a rectangle up to the reference, whose height is
    the difference to the point before it. No step leads over a `wanted` point."""
    order = np.lexsort(points_N2.T[::-1])
    x_N, y_N = points_N2[order].T
    size = len(order)
    gain_NN = (x_N.max() - x_N)[None, :] * (y_N[:, None] - y_N[None, :])  # of j after i, at [i, j]
    gain_NN[np.tril_indices(size)] = -np.inf
    upto_N = np.isin(order, wanted).cumsum()  # wanted points up to each
    gain_NN[(upto_N - np.isin(order, wanted))[None, :] > upto_N[:, None]] = -np.inf
    volume_N, steps = np.full(size, -np.inf), []
    volume_N[0] = 0.0
    for _ in range(count - 1):
        reached_NN = volume_N[:, None] + gain_NN
        steps.append(reached_NN.argmax(0))
        volume_N = reached_NN.max(0)
    index = size - 1
    chosen = [index]
    for before_N in reversed(steps):
        index = int(before_N[index])
        chosen.append(index)
    return [int(order[index]) for index in chosen]


def _greedy(points_NM: Points, given: Sequence[int], count: int) -> list[int]:
    """The given points, then repeatedly the point that adds most to the hypervolume."""
    worst = points_NM.max(0).tolist()
    directions: list[Direction] = ["minimize" for _ in worst]
    chosen = list(given)
    while len(chosen) < count:
        rest = [index for index in range(len(points_NM)) if index not in chosen]
        volumes = [hypervolume(points_NM[[*chosen, index]].tolist(), worst, directions) for index in rest]
        chosen.append(rest[int(np.argmax(volumes))])
    return chosen
