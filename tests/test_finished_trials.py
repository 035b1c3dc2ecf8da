"""The subset of thousands of trials that a proposal is made from: the best, and the same for a resumed study."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from ffnet_search.pareto.front import dominator_counts
from ffnet_search.search.samplers.finished import CHUNK, CHUNK_BEST, FinishedTrials
from ffnet_search.search.samplers.pareto import ParetoSampler

AXES = {f"x{at}": CategoricalDistribution(list(range(6))) for at in range(8)}
BEGIN = datetime(2026, 1, 1)


def trial(number: int, at_s: float | None = None) -> FrozenTrial:
    """A random one of two objectives, to be maximised and minimised, that ended so many seconds after the begin."""
    rng = np.random.default_rng(number)
    params = {name: int(rng.integers(6)) for name in AXES}
    cost = float(sum(params.values()))
    one = create_trial(params=params, distributions=dict(AXES), values=[cost + 5 * rng.random(), cost + rng.random()])
    one.number = number
    one.datetime_complete = BEGIN + timedelta(seconds=number if at_s is None else at_s)
    return one


def finished(trials: list[FrozenTrial]) -> FinishedTrials:
    result = FinishedTrials()
    for one in trials:
        result.add(one, np.array([float(one.params[name]) for name in AXES]))
    return result


def points(trials: list[FrozenTrial]) -> np.ndarray:
    return np.array([one.values for one in trials]) * [-1, 1]


def best(trials: list[FrozenTrial], count: int) -> list[FrozenTrial]:
    order = np.argsort(dominator_counts(points(trials)), kind="stable")[:count]
    return [trials[at] for at in np.sort(order)]


def test_of_thousands_the_first_the_newest_and_the_front_are_kept() -> None:
    trials = [trial(number) for number in range(5 * CHUNK + 7)]
    assert finished(trials[: 2 * CHUNK - 1]).subset(16, best, 2 * CHUNK - 1) == trials[: 2 * CHUNK - 1]
    kept = finished(trials).subset(16, best, len(trials))
    assert len(kept) <= 16 + CHUNK_BEST + 2 * CHUNK
    assert kept[:16] == trials[:16] and kept[-CHUNK - 7 :] == trials[-CHUNK - 7 :]
    assert [one.number for one in kept] == sorted(one.number for one in kept)
    front = {one.number for one, count in zip(trials, dominator_counts(points(trials)), strict=True) if not count}
    assert front <= {one.number for one in kept}


def test_a_trial_that_is_told_late_takes_its_place() -> None:
    trials = [trial(number) for number in range(3 * CHUNK)]
    late = trial(3 * CHUNK, at_s=10.5)
    grown = finished(trials)
    grown.subset(16, best, 3 * CHUNK)
    grown.add(late, np.zeros(len(AXES)))
    at_once = finished([*trials[:11], late, *trials[11:]])
    assert grown.trials == at_once.trials
    assert grown.subset(16, best, 3 * CHUNK + 1) == at_once.subset(16, best, 3 * CHUNK + 1)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_resumed_study_of_thousands_proposes_what_an_uninterrupted_one_would(seed: int) -> None:
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=ParetoSampler(seed=seed))
    for number in range(3 * CHUNK):
        study.add_trial(trial(number))
        if number % 400 == 399:
            ended = study.ask(dict(AXES))  # the sampler learns what there is
            study.tell(ended, state=TrialState.FAIL)
    again = optuna.create_study(directions=["maximize", "minimize"], sampler=ParetoSampler(seed=seed))
    again.add_trials(study.get_trials(deepcopy=False))
    assert study.ask(dict(AXES)).params == again.ask(dict(AXES)).params
