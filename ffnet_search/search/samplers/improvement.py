"""Expected improvement of the hypervolume, exact for independent normal objectives (Emmerich, Deutz and Klinkenberg,
2011). All objectives are minimised; a standard deviation of zero is an objective that is known."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from ffnet_search.pareto.front import no_worse
from ffnet_search.search.samplers.axis import Array

MOST_POINTS = {1: 1, 2: 400, 3: 48}  # of a front that is cut into boxes, by the number of objectives
MOST_POINTS_OTHERWISE = 16  # with more objectives


def non_dominated(points_NM: Array) -> np.ndarray:
    """The indices of the non-dominated points, one of equal ones, by the first objective in rising order."""
    order = np.lexsort(points_NM.T[::-1])
    if points_NM.shape[1] == 2:
        second_N = points_NM[order, 1]
        return np.asarray(order[second_N < np.minimum.accumulate(np.append(np.inf, second_N))[:-1]])
    front: list[int] = []
    for index in order.tolist():
        if not no_worse(points_NM[front], points_NM[index]).any():
            front.append(index)
    return np.array(front, dtype=np.int64)


def boxes(points_NM: Array, reference_M: Array) -> tuple[Array, Array]:
    """Lower and upper corners (B, M) of disjoint boxes that fill the non-dominated region below the reference point."""
    front_KM = points_NM[(points_NM < reference_M).all(axis=1)]
    front_KM = front_KM[non_dominated(front_KM)]
    most = MOST_POINTS.get(len(reference_M), MOST_POINTS_OTHERWISE)
    if len(front_KM) > most:
        front_KM = front_KM[np.linspace(0, len(front_KM) - 1, most).round().astype(int)]
    if len(reference_M) == 2:
        first_K, second_K = front_KM.T[:, ::-1]
        lows = np.stack([np.full(len(front_KM) + 1, -np.inf), np.append(-np.inf, second_K)], axis=1)
        return lows, np.stack([np.append(reference_M[0], first_K), np.append(second_K, reference_M[1])], axis=1)
    boxes_B = _boxes(front_KM, reference_M)
    return np.array([low for low, _ in boxes_B]), np.array([high for _, high in boxes_B])


def _boxes(front_KM: Array, reference_M: Array) -> list[tuple[list[float], list[float]]]:
    """The corners of these boxes, by slices along the last objective. Inside a slice, the points that are no worse than
    its lower end in that objective make a problem of one objective less."""
    if len(reference_M) == 1:
        return [([-np.inf], [min([reference_M[0], *front_KM[:, 0]])])]
    heights = np.unique(front_KM[:, -1]).tolist()
    boxes_B = []
    for low, high in zip([-np.inf, *heights], [*heights, reference_M[-1]], strict=True):
        below_KM = front_KM[front_KM[:, -1] <= low][:, :-1]
        inner_KM = below_KM[non_dominated(below_KM)]
        boxes_B += [([*a, low], [*b, high]) for a, b in _boxes(inner_KM, reference_M[:-1])]
    return boxes_B


def expected_improvement(mean_SM: Array, sd_SM: Array, lower_BM: Array, upper_BM: Array) -> Array:
    """The expected gain in hypervolume (S,) of points with these means and standard deviations (S, M)."""
    volume_SB: Array = np.ones((len(mean_SM), len(lower_BM)))
    for mean_S, sd_S, low_B, high_B in zip(mean_SM.T, sd_SM.T, lower_BM.T, upper_BM.T, strict=True):
        edges_E, column = np.unique(np.concatenate([low_B, high_B]), return_inverse=True)
        gain_SE = _expected_excess(mean_S[:, None], np.maximum(sd_S, 1e-12)[:, None], edges_E)
        volume_SB *= gain_SE[:, column[len(low_B) :]] - gain_SE[:, column[: len(low_B)]]
    return np.asarray(volume_SB.sum(axis=1))


def _expected_excess(mean_S1: Array, sd_S1: Array, edges_E: Array) -> Array:
    """E[max(0, edge - y)] (S, E) for normal y."""
    distance_SE = np.maximum(edges_E, -1e30) - mean_S1
    z_SE = np.clip(distance_SE / sd_S1, -40, 40)
    excess_SE = distance_SE * ndtr(z_SE) + sd_S1 * np.exp(-0.5 * z_SE**2) / np.sqrt(2 * np.pi)
    return np.where(z_SE <= -40, 0.0, np.where(z_SE >= 40, distance_SE, excess_SE))
