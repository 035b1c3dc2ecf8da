"""The networks that are chosen from a front: the ends, and the largest hypervolume between them."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest
from points import BOTH, candidates, points_of

from ffnet_search.pareto.front import hypervolume, pareto_front
from ffnet_search.pareto.subset import choose, largest_subset


def random_front(count: int, objectives: int, seed: int) -> np.ndarray:
    """Points that do not dominate each other: on a sphere, in no order."""
    rng = np.random.default_rng(seed)
    points_NM = rng.random((count, objectives)) + 0.05
    return 1 - points_NM / np.linalg.norm(points_NM, axis=1, keepdims=True)


def volume(points_NM: np.ndarray, rows: list[int]) -> float:
    return hypervolume(points_NM[rows].tolist(), points_NM.max(0).tolist(), ["minimize"] * points_NM.shape[1])


@pytest.mark.parametrize("count", [2, 3, 5])
def test_no_other_subset_of_two_objectives_dominates_more(count: int) -> None:
    for seed in range(5):
        points_N2 = random_front(9, 2, seed)
        chosen = largest_subset(points_N2, count)
        assert len(set(chosen)) == count and {int(index) for index in points_N2.argmin(0)} <= {*chosen}
        ends = {int(index) for index in points_N2.argmin(0)}
        best = max(volume(points_N2, list(rows)) for rows in combinations(range(9), count) if ends <= {*rows})
        assert volume(points_N2, chosen) == pytest.approx(best)


@pytest.mark.parametrize("objectives", [2, 3])
def test_wanted_points_are_chosen_and_the_others_fill_the_volume(objectives: int) -> None:
    for seed in range(5):
        points_NM = random_front(9, objectives, seed)
        wanted = random.Random(seed).sample(range(9), 2)
        given = {int(index) for index in points_NM.argmin(0)} | {*wanted}
        chosen = largest_subset(points_NM, 6, wanted)
        assert len(set(chosen)) == 6 and given <= {*chosen}
        best = max(volume(points_NM, list(rows)) for rows in combinations(range(9), 6) if given <= {*rows})
        assert volume(points_NM, chosen) >= (0.999999 if objectives == 2 else 1 - 1 / np.e) * best
        assert len(largest_subset(points_NM, 2, wanted)) == 2  # the ends come first


def test_three_objectives_have_their_ends_and_most_of_the_volume() -> None:
    points_N3 = random_front(12, 3, 0)
    chosen = largest_subset(points_N3, 6)
    assert len(set(chosen)) == 6 and {int(index) for index in points_N3.argmin(0)} <= {*chosen}
    ends = {int(index) for index in points_N3.argmin(0)}
    best = max(volume(points_N3, list(rows)) for rows in combinations(range(12), 6) if ends <= {*rows})
    assert volume(points_N3, chosen) >= (1 - 1 / np.e) * best


def test_a_crowd_at_one_end_does_not_take_all_places() -> None:
    """Places in the list say nothing: most networks of a front lie where the search found the most."""
    rng = random.Random(0)
    crowd = sorted((0.900 - rng.random() / 1000, 10 - rng.random() / 10) for _ in range(30))
    front = pareto_front(candidates([*crowd, (0.95, 20.0), (0.8, 2.0), (0.5, 1.0)]), BOTH)
    chosen = points_of(choose(front, 4, BOTH))
    assert chosen[0] == (0.95, 20.0) and chosen[-1] == (0.5, 1.0) and (0.8, 2.0) in chosen
    assert [*chosen] == sorted(chosen, reverse=True)


def test_a_short_front_is_taken_whole_and_one_place_is_the_best() -> None:
    front = candidates([(0.9, 3.0), (0.8, 2.0), (0.7, 1.0)])
    assert choose(front, 3, BOTH) == front and choose([], 3, BOTH) == []
    assert choose(front, 1, BOTH) == front[:1]
    assert choose(front, 2, BOTH) == [front[0], front[2]]
