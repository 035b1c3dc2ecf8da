"""Small studies that tests of `ParetoSampler` search: axes of all kinds, and a chain of choices with a limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from ffnet_search.search.samplers import pareto
from ffnet_search.search.samplers.pareto import ParetoSampler

START = 6  # trials of the random start
CHAIN = {f"axis{index}": CategoricalDistribution([0, 1, 2, 3]) for index in range(8)}


def mixed(trial: optuna.Trial) -> Sequence[float]:
    """Axes of all kinds, one of them conditional."""
    kind = trial.suggest_categorical("kind", ["plain", "wide", "deep"])
    width = trial.suggest_categorical("width", [16, 32, 48])
    depth = trial.suggest_int("depth", 1, 5)
    rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    step = trial.suggest_float("step", 0.0, 1.0, step=0.25)
    gate = trial.suggest_float("gate", 0.0, 1.0) if kind == "wide" else 0.5
    cost = width * depth
    return [abs(np.log10(rate) + 2) + gate - depth / 5, cost, step * cost + (kind == "deep"), width - gate]


def study_of(objectives: int, seed: int = 0, **options: Any) -> optuna.Study:
    sampler = ParetoSampler(seed=seed, start=START, **options)
    return optuna.create_study(directions=["minimize"] * objectives, sampler=sampler)


def study_of_chain(**options: Any) -> optuna.Study:
    return optuna.create_study(
        directions=["maximize", "minimize"], sampler=ParetoSampler(seed=0, start=START, **options)
    )


def proposed(study: optuna.Study) -> list[Mapping[str, Any]]:
    return [trial.params for trial in study.get_trials(deepcopy=False)]


def chain(params: Mapping[str, Any]) -> tuple[float, float]:
    """Quality, which neighbours add to, and cost."""
    numbers = [params[name] for name in CHAIN]
    pairs = sum(one * two for one, two in pairwise(numbers))
    return float(np.sqrt(sum(numbers)) + 0.1 * pairs), 1 + sum(n * (index + 1) for index, n in enumerate(numbers)) / 10


def searched(study: optuna.Study, evaluations: int, limit: float = 6.0) -> optuna.Study:
    """Over-limit configurations are pruned, and cost nothing."""
    evaluated = 0
    while evaluated < evaluations:
        trial = study.ask(CHAIN)
        quality, cost = chain(trial.params)
        trial.set_constraint("cost", cost / limit - 1)
        if cost > limit:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, (quality, cost))
            evaluated += 1
    return study


def late_study(monkeypatch: pytest.MonkeyPatch) -> optuna.Study:
    """One in which ten trials are many."""
    monkeypatch.setattr(pareto, "LATE_FROM", 10)
    return searched(study_of_chain(), 10)
