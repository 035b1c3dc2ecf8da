"""The running front is the front of all candidates so far, and its volume their hypervolume."""

from __future__ import annotations

import math
import random

import pytest
from networks import space

from ffnet_search.pareto.candidate import Candidate
from ffnet_search.pareto.front import RunningFront, hypervolume, pareto_front
from ffnet_search.space.registry import known_metrics

METRICS = {name: metric.direction for name, metric in known_metrics().items()}

ARCH = space("ffnet_digits").smallest


@pytest.mark.parametrize("names", [["accuracy"], ["accuracy", "latency_ms"], ["latency_ms", "accuracy", "params_m"]])
def test_one_by_one_it_is_the_front_of_all(names: list[str]) -> None:
    rng, objectives = random.Random(0), {name: METRICS[name] for name in names}
    bounds = {"accuracy": (0.0, 1.0), "latency_ms": (4.0, 0.0), "params_m": (2.0, 0.0)}
    front, everything = RunningFront(objectives, bounds), []
    volume = 0.0
    for _ in range(200):
        metrics = {name: rng.choice((rng.random(), 0.25, 0.5)) for name in names}  # with ties
        everything.append(Candidate(ARCH, metrics))
        was_added = front.add(everything[-1])
        expected = pareto_front(everything, objectives)
        assert len(front.candidates) == len(expected)
        assert was_added == any(candidate is everything[-1] for candidate in expected)
        assert front.best == {
            name: (max if METRICS[name] == "maximize" else min)(one.metrics[name] for one in everything)
            for name in names
        }
        assert front.volume is not None and front.volume >= volume
        volume = front.volume
    points = [[one.metrics[name] for name in names] for one in everything]
    box = math.prod(abs(worst - perfect) for worst, perfect in (bounds[name] for name in names))
    reference = [bounds[name][0] for name in names]
    assert volume == pytest.approx(hypervolume(points, reference, list(objectives.values())) / box)


def test_without_bounds_there_is_no_volume() -> None:
    front = RunningFront({"latency_ms": "minimize"}, {})
    assert front.best == {}
    front.add(Candidate(ARCH, {"latency_ms": 1.0}))
    assert front.volume is None
    with pytest.raises(ValueError, match="must be finite"):
        front.add(Candidate(ARCH, {"latency_ms": float("nan")}))
