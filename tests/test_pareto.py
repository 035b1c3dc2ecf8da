"""The front holds no dominated point, and the hypervolume is a volume."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from points import ARCH, BOTH, candidates, points_of

from ffnet_search.metrics import Direction
from ffnet_search.pareto.front import (
    as_minimised,
    dominates,
    dominator_counts,
    hypervolume,
    no_worse,
    pareto_front,
)
from ffnet_search.space.registry import known_metrics

METRICS = {name: metric.direction for name, metric in known_metrics().items()}


def clouds(metrics: int, count: int = 30) -> list[list[tuple[float, ...]]]:
    """Random points, some of them equal and many with equal coordinates."""
    rng = random.Random(metrics)
    return [
        [tuple(rng.randint(0, 9) / 10 for _ in range(metrics)) for _ in range(rng.randint(1, 40))] for _ in range(count)
    ]


def is_better(a: Sequence[float], b: Sequence[float], directions: Sequence[Direction]) -> bool:
    """Dominance, written out: `a` is at least as good as `b` everywhere and better somewhere."""
    signed = [(x, y) if d == "maximize" else (-x, -y) for x, y, d in zip(a, b, directions, strict=True)]
    return all(x >= y for x, y in signed) and any(x > y for x, y in signed)


@pytest.mark.parametrize("metrics", [1, 2, 3, 4])
def test_front_is_exactly_what_nothing_dominates(metrics: int) -> None:
    objectives = dict(list(METRICS.items())[:metrics])
    directions = list(objectives.values())
    for cloud in clouds(metrics):
        front = points_of(pareto_front(candidates(cloud, tuple(objectives)), objectives), tuple(objectives))
        undominated = {p for p in cloud if not any(is_better(q, p, directions) for q in cloud)}
        assert set(front) == undominated
        assert len(front) == len(undominated)  # one candidate per point


def test_front_does_not_depend_on_the_order() -> None:
    rng = random.Random(0)
    for cloud in clouds(2):
        front = points_of(pareto_front(candidates(cloud), BOTH))
        assert front == sorted(front, reverse=True)  # best first objective first
        shuffled = rng.sample(cloud, len(cloud))
        assert points_of(pareto_front(candidates(shuffled), BOTH)) == front


def test_a_front_is_its_own_front() -> None:
    for cloud in clouds(3):
        objectives = dict(list(METRICS.items())[:3])
        front = pareto_front(candidates(cloud, tuple(objectives)), objectives)
        assert pareto_front(front, objectives) == front


@pytest.mark.parametrize("metrics", [1, 2, 3])
def test_dominance_is_the_strict_order_that_it_says(metrics: int) -> None:
    objectives = dict(list(METRICS.items())[:metrics])
    directions = list(objectives.values())
    for cloud in clouds(metrics, count=5):
        points_NM = np.array([as_minimised(one, objectives) for one in candidates(cloud, tuple(objectives))])
        expected = [[is_better(a, b, directions) for b in cloud] for a in cloud]
        assert dominates(points_NM[:, None], points_NM[None]).tolist() == expected
        assert dominator_counts(points_NM).tolist() == [sum(column) for column in zip(*expected, strict=True)]
        assert (dominator_counts(points_NM) == 0).tolist() == [
            not any(column) for column in zip(*expected, strict=True)
        ]
        assert not dominates(points_NM, points_NM).any()
        assert no_worse(points_NM, points_NM).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=f"metrics must be finite, but {ARCH.key} has"):
        pareto_front(candidates([(0.5, value)]), BOTH)


def test_nothing_has_an_empty_front_and_no_volume() -> None:
    assert pareto_front([], BOTH) == []
    assert hypervolume([], (0, 1), ["maximize", "minimize"]) == 0


def test_hypervolume_of_what_can_be_drawn() -> None:
    directions: list[Direction] = ["maximize", "minimize"]
    assert hypervolume([(0.5, 2.0)], (0.0, 4.0), directions) == pytest.approx(1.0)
    assert hypervolume([(0.5, 2.0), (0.25, 1.0)], (0.0, 4.0), directions) == pytest.approx(1.25)
    assert hypervolume([(0.5, 2.0), (0.4, 3.0)], (0.0, 4.0), directions) == pytest.approx(1.0)  # dominated
    assert hypervolume([(0.5, 5.0), (0.0, 1.0)], (0.0, 4.0), directions) == 0  # worse than the reference


@pytest.mark.parametrize("metrics", [1, 2, 3, 4])
def test_hypervolume_against_monte_carlo(metrics: int) -> None:
    directions: list[Direction] = ["maximize", "minimize", "minimize", "maximize"][:metrics]  # type: ignore[assignment]
    reference = [0.0 if direction == "maximize" else 1.0 for direction in directions]
    rng = random.Random(metrics)
    for _ in range(3):
        cloud = [tuple(rng.random() for _ in directions) for _ in range(8)]
        darts = [tuple(rng.random() for _ in directions) for _ in range(4000)]
        hit = sum(any(p == dart or is_better(p, dart, directions) for p in cloud) for dart in darts)
        assert hypervolume(cloud, reference, directions) == pytest.approx(hit / len(darts), abs=0.035)  # 4.4 sigma


@pytest.mark.parametrize("metrics", [2, 3, 4])
def test_hypervolume_agrees_with_optuna(metrics: int) -> None:
    optuna_hypervolume = pytest.importorskip("optuna._hypervolume", reason="an internal module of Optuna")
    directions: list[Direction] = ["minimize"] * metrics
    for cloud in clouds(metrics):
        theirs = optuna_hypervolume.compute_hypervolume(np.array(cloud), np.full(metrics, 0.95))
        assert hypervolume(cloud, [0.95] * metrics, directions) == pytest.approx(theirs)


def test_hypervolume_grows_with_points_only_by_the_front() -> None:
    directions = list(BOTH.values())
    for cloud in clouds(2):
        volume = hypervolume(cloud, (0, 1), directions)
        front = points_of(pareto_front(candidates(cloud), BOTH))
        assert hypervolume(front, (0, 1), directions) == pytest.approx(volume)
        assert hypervolume(cloud[:-1], (0, 1), directions) <= volume + 1e-12
        assert hypervolume(cloud[::-1], (0, 1), directions) == pytest.approx(volume)
