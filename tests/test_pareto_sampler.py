"""What `ParetoSampler` finds, and which configurations it may propose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import PartialFixedSampler, RandomSampler
from optuna.trial import TrialState
from sampler_studies import CHAIN, START, chain, proposed, searched, study_of, study_of_chain

from ffnet_search.pareto.front import hypervolume
from ffnet_search.search.samplers.pareto import Known, ParetoSampler


def test_axes_without_effect_are_proposed_with_the_others() -> None:
    alone: list[int] = []

    class Spy(ParetoSampler):
        def sample_independent(self, study: optuna.Study, trial: optuna.trial.FrozenTrial, *axis: Any) -> Any:
            alone.append(trial.number)
            return super().sample_independent(study, trial, *axis)

    def known(params: Mapping[str, Any]) -> Known:
        effective = {name: value for name, value in params.items() if name != "gate" or params["kind"] == "wide"}
        return Known(params=effective)

    nine = CategoricalDistribution(range(9))
    axes = {"kind": CategoricalDistribution(["plain", "wide"]), "gate": nine, "width": nine}
    study = optuna.create_study(directions=["minimize"], sampler=Spy(seed=0, start=4, known=known))
    for _ in range(16):
        trial = study.ask(axes)
        assert trial.params.keys() == axes.keys()
        study.tell(trial, float(trial.params["width"] + (trial.params["kind"] == "wide")))
    assert set(alone) == {0}  # only the first has no others to learn its axes from
    assert "plain" in [params["kind"] for params in proposed(study)[4:]]


def known_cost(params: Mapping[str, Any]) -> Known:
    cost = chain(params)[1]
    return Known({1: cost}, {"cost": cost / 6.0 - 1})


def volume(study: optuna.Study) -> float:
    return hypervolume([trial.values for trial in study.best_trials], (1.0, 6.0), ("maximize", "minimize"))


def test_it_finds_more_than_random_search_and_the_more_the_more_is_known() -> None:
    directions = ["maximize", "minimize"]
    samplers = [RandomSampler(seed=0), ParetoSampler(0, start=START), ParetoSampler(0, start=START, known=known_cost)]
    studies = [searched(optuna.create_study(directions=directions, sampler=one), 30) for one in samplers]
    random, learnt, known = map(volume, studies)
    assert random < 0.95 * learnt
    assert random < 0.95 * known
    states = [{trial.state for trial in study.get_trials(deepcopy=False)} for study in studies]
    assert TrialState.PRUNED in states[1]
    assert states[2] == {TrialState.COMPLETE, TrialState.PRUNED} or states[2] == {TrialState.COMPLETE}
    pruned = [trial.number for trial in studies[2].trials if trial.state == TrialState.PRUNED]
    assert all(number == 0 for number in pruned)  # the first is drawn before the axes are known


def test_with_workers_the_random_start_ends_when_all_of_it_is_asked_for() -> None:
    proposals = []
    for start in (START, 50):
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=ParetoSampler(0, start=start))
        asked = [study.ask(CHAIN) for _ in range(START)]
        assert len({tuple(trial.params.values()) for trial in asked}) == START
        for trial in asked[: START // 2]:
            study.tell(trial, chain(trial.params))
        proposals.append(study.ask(CHAIN).params)
    guided, random = proposals
    assert guided != random


def test_where_nearly_nothing_is_feasible_it_goes_where_limits_are_exceeded_least() -> None:
    study = searched(study_of_chain(), 3, limit=1.35)  # 0.1 % of all
    assert len(study.get_trials(deepcopy=False)) < 600


def test_a_range_that_changes_and_an_axis_that_comes_later_are_learnt() -> None:
    study = study_of(2)
    for number in range(START + 6):
        axes: dict[str, Any] = {
            "x": IntDistribution(0, 3 if number < START else 5),
            "k": CategoricalDistribution("abc"),
        }
        if number > 3:
            axes["late"] = FloatDistribution(0, 1)
        trial = study.ask(axes)
        study.tell(trial, (trial.params["x"], -trial.params.get("late", 0.0)))
    assert max(params["x"] for params in proposed(study)[START:]) <= 5


def test_a_start_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="start must be >= 2, but got 1"):
        ParetoSampler(start=1)


def test_infinite_constraints_say_that_a_trial_is_infeasible() -> None:
    study = study_of(1)
    for _ in range(START + 24):
        trial = study.ask(CHAIN)
        trial.set_constraint("good", np.inf if trial.params["axis0"] else -np.inf)
        study.tell(trial, -float(sum(trial.params.values())))
    assert study.best_value <= -20  # of 21: the best that is feasible


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_sampler_with_some_parameters_fixed_searches_the_others() -> None:
    sampler = PartialFixedSampler({"axis0": 3}, ParetoSampler(0, start=START))
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    searched(study, START + 4, limit=20)
    assert {params["axis0"] for params in proposed(study)} == {3}


def test_a_study_of_the_same_name_is_another_study() -> None:
    sampler = ParetoSampler(0, start=START)
    best = []
    for _ in range(2):
        study = optuna.create_study(study_name="same", sampler=sampler)
        study.optimize(lambda trial: (trial.suggest_float("x", 0, 1) - 0.3) ** 2, n_trials=START + 8)
        best.append(study.best_value)
    assert max(best) < 1e-3


def test_axes_that_running_trials_add_before_any_has_finished() -> None:
    """As threads do that ask for parameters in between."""
    study = study_of(1)
    first, second, third, fourth = (study.ask() for _ in range(4))
    for trial in (first, second):
        trial.suggest_categorical("kind", "abc")
    second.suggest_categorical("x", range(4))
    third.suggest_categorical("kind", "abc")  # beside rows of one axis and of two
    first.suggest_categorical("y", range(4))  # comes before x now
    fourth.suggest_categorical("kind", "abc")
    assert {trial.params["kind"] for trial in (first, second, third, fourth)} <= set("abc")
