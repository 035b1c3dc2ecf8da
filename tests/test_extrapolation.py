"""What was stopped would have ended as those did that were like it."""

from __future__ import annotations

import math
import random

import pytest

from ffnet_search.search.samplers.optuna import LearningCurves

TRIALS = {0.2: 0.6, 0.5: 0.8, 0.8: 0.9}  # accuracy after two epochs -> in the end


@pytest.fixture
def curves() -> LearningCurves:
    curves = LearningCurves()
    for then, ending in TRIALS.items():
        reports = {2: {"accuracy": then, "loss": 2 - then}, 4: {"accuracy": ending, "loss": 1 - ending}}
        curves.add(reports, {"accuracy": ending, "loss": 1 - ending, "latency_ms": 1.0})
    return curves


@pytest.mark.parametrize(
    ("accuracy", "ending"), [(0.2, 0.6), (0.5, 0.8), (0.8, 0.9), (0.65, 0.85), (0.05, 0.45), (0.85, 0.95)]
)
def test_its_rank_then_is_its_rank_in_the_end(curves: LearningCurves, accuracy: float, ending: float) -> None:
    expected = pytest.approx({"accuracy": ending, "loss": 1 - ending})
    assert curves.ending(2, {"accuracy": accuracy, "loss": 2 - accuracy}) == expected


def test_what_was_behind_stays_behind() -> None:
    rng, curves = random.Random(0), LearningCurves()
    for _ in range(30):
        curves.add({1: {"accuracy": rng.random()}}, {"accuracy": rng.random()})
    endings = [curves.ending(1, {"accuracy": x / 50}) for x in range(-10, 60)]
    accuracies = [ending["accuracy"] for ending in endings if ending]
    assert len(accuracies) == 70
    assert accuracies == sorted(accuracies)


def test_what_is_known_before_training_stays(curves: LearningCurves) -> None:
    ending = curves.ending(2, {"accuracy": 0.5, "latency_ms": 7.0})
    assert ending is not None
    assert ending["latency_ms"] == 7.0


@pytest.mark.parametrize(("epoch", "metrics"), [(3, {"accuracy": 0.5}), (2, {"latency_ms": 7.0}), (2, {})])
def test_nothing_is_made_up(curves: LearningCurves, epoch: int, metrics: dict[str, float]) -> None:
    assert curves.ending(epoch, metrics) is None
    assert LearningCurves().ending(epoch, metrics) is None


def test_what_is_not_finite_tells_nothing(curves: LearningCurves) -> None:
    before = curves.ending(2, {"accuracy": 0.5})
    curves.add({2: {"accuracy": math.nan, "loss": math.inf}}, {"accuracy": 0.9, "loss": 0.1})
    assert curves.ending(2, {"accuracy": 0.5}) == before
