"""Hyper-parameters of a training as a search space."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from searches import held

from ffnet_search.evaluation.outcome import Report
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.strict_yaml import parse

INPUT = {"channels": 1, "resolution": 8, "classes": 10}
RECIPE = {
    "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "optimizer": ["adamw", "sgd"],
    "momentum": {"low": 0.8, "high": 0.99, "when": {"optimizer": "sgd"}},
    "weight_decay": {"low": 0.0, "high": 0.1, "step": 0.02, "when": {"optimizer": ["adamw"]}},
    "batch_size": {"low": 16, "high": 64, "step": 16},
}
ALONE = {"architecture": "ffnet_1", "input": {**INPUT, "resolution": 32}, "hyperparameters": RECIPE}


def space_of(hyperparameters: Mapping[str, Any], **more: Any) -> SearchSpace:
    return parse(SearchSpace, {**ALONE, "hyperparameters": hyperparameters, **more}, "space.yaml")


class Rate:
    """An evaluator without training: best at a learning rate of 0.01, with SGD, at a momentum of 0.9."""

    def __init__(self, log: Path | None = None, hold: int | None = None) -> None:
        self.log, self.hold = log, hold

    def __call__(self, configuration: Configuration, report: Report) -> Candidate:
        if self.log:
            with self.log.open("a") as file:
                file.write(f"{configuration.key}\n")
            held(self.log, self.hold)
        values: Any = configuration.hyperparameters
        score = 1 - abs(math.log10(values["learning_rate"]) + 2) / 4 - abs(values.get("momentum", 0.5) - 0.9)
        return Candidate(configuration.architecture, {"accuracy": score}, record={"seed": 7})
