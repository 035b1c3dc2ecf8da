"""A study that tells infinity where a trial broke down: the sampler avoids what led there, and does not warn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import optuna
import pytest

from ffnet_search.search.samplers.pareto import ParetoSampler

START, TRIALS = 8, 40


def broken(trial: optuna.Trial) -> Sequence[float]:
    """The best values lie just before the border beyond which nothing is told."""
    x = [trial.suggest_float(f"x{axis}", 0.0, 1.0) for axis in range(3)]
    return [math.inf if sum(x) > 1.2 else -sum(x), x[0]]


def study_of(objectives: int, worst: int = 1) -> optuna.Study:
    direction = "minimize" if worst > 0 else "maximize"
    return optuna.create_study(directions=[direction] * objectives, sampler=ParetoSampler(seed=0, start=START))


@pytest.mark.parametrize("objectives", [1, 2])
@pytest.mark.parametrize("worst", [1, -1])
def test_where_trials_break_down_is_learnt(objectives: int, worst: int) -> None:
    study = study_of(objectives, worst)
    study.optimize(lambda trial: [worst * value for value in broken(trial)[:objectives]], n_trials=TRIALS)
    lost = [math.isinf(trial.values[0]) for trial in study.trials]
    assert any(lost[:START])
    assert sum(lost[START:]) <= (TRIALS - START) / 2
    assert min(worst * trial.values[0] for trial in study.trials) < -1.1


def test_a_study_of_nothing_but_infinities_goes_on() -> None:
    study = study_of(2)
    study.optimize(lambda trial: [broken(trial)[1] * math.inf or math.inf, math.inf], n_trials=2 * START + 4)
    assert len({str(trial.params) for trial in study.trials}) == 2 * START + 4


def test_a_resumed_study_with_infinities_proposes_what_an_uninterrupted_one_would() -> None:
    whole, resumed = study_of(2), study_of(2)
    whole.optimize(broken, n_trials=20)
    resumed.add_trials(whole.trials[:11])
    resumed.optimize(broken, n_trials=9)
    assert [trial.params for trial in resumed.trials] == [trial.params for trial in whole.trials]
