"""A sweep of the digits that trains, searches and retrains within seconds, and its run with a trained supernet."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from small_sweeps import SPACE
from training_steps import ObservedStep

from ffnet_search.config.retraining import Retraining, retraining_of
from ffnet_search.config.sweep import Sweep
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.export.picks import shortlist
from ffnet_search.metrics import Direction
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.training.fit import train_supernet

EPOCHS = 2
DIRECTIONS: dict[str, Direction] = {"accuracy": "maximize", "latency_ms": "minimize"}


def write_sweep(folder: Path, **changed: Any) -> Sweep:
    content: dict[str, Any] = {
        "search_space": SPACE,
        "runs": str(folder / "runs"),
        "data": {"batch_size": 128, "validation": 0.25, "calibration": 128},
        "train": {"epochs": 2, "learning_rate": 3e-3},
        "latency": {"rounds": 3, "calibration": 4, "noisy": True},
        "search": {"trials": 8},
        "export": {"top": 2, "retrain": {"epochs": EPOCHS, "candidates": 3, "distil": 0.5}},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump({**content, **changed}))
    return Sweep.from_yaml(folder / "tiny.yaml")


@dataclass(frozen=True)
class SupernetRun:
    """A run with a trained supernet and some candidates, whose latency is computed from MACs: nothing is measured."""

    sweep: Sweep
    candidates: list[Candidate]

    def chosen(self, count: int) -> list[Candidate]:
        return shortlist(self.candidates, DIRECTIONS, count)


def train_run(folder: Path) -> SupernetRun:
    """Train the supernet of a sweep in `folder` and evaluate up to eight networks of it."""
    sweep = write_sweep(folder)
    train_supernet(sweep)
    evaluate, space, rng = Evaluator.from_sweep(sweep), sweep.search_space, random.Random(0)
    archs = dict.fromkeys([space.smallest, space.largest, *(space.sample(rng) for _ in range(6))])
    candidates = [evaluate(Configuration(arch)) for arch in archs]
    costs = [{"latency_ms": one.network.macs_m / 100} for one in candidates]
    return SupernetRun(
        sweep, [replace(one, metrics={**one.metrics, **cost}) for one, cost in zip(candidates, costs, strict=True)]
    )


def retraining_in(sweep: Sweep) -> Retraining:
    """The settings of retraining of a sweep that has some."""
    retraining = retraining_of(sweep)
    assert retraining is not None
    return retraining


def trainings(steps: list[ObservedStep]) -> set[str]:
    """The keys of the networks that were trained since the last call."""
    keys = {step.key for step in steps}
    steps.clear()
    return keys
