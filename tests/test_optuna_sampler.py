"""The study in memory that a sampler of Optuna learns from, and what of its trials is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState

from ffnet_search.config.search_schema import SearchSection
from ffnet_search.evaluation.outcome import Stopped
from ffnet_search.search.archive import Entry
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.samplers.optuna import OptunaSampler
from ffnet_search.space.search_space import SearchSpace

SPACE = SearchSpace.model_validate(
    {"hyperparameters": {"x": {"low": 0.0, "high": 1.0}, "y": {"low": 0.0, "high": 1.0}}}
)
OBJECTIVES = [("accuracy",), ("accuracy", "macs_m")]


def problem(objectives: Sequence[str], seed: int = 0) -> SearchProblem:
    return SearchProblem(SPACE, SearchSection(objectives=tuple(objectives), evaluator="train"), seed=seed)


def evaluated(*objectives: float) -> Entry:
    return Entry("evaluated", objectives)


def stopped_with(metrics: Mapping[str, float]) -> Entry:
    return Entry("stopped", stopped=Stopped(1, metrics))


def trained(trial: Trial, reports: Mapping[int, float], accuracy: float) -> None:
    """What the search writes into a trial that is over."""
    trial.set_user_attr("reports", {epoch: {"accuracy": x} for epoch, x in reports.items()})
    trial.set_user_attr("accuracy", accuracy)
    trial.set_user_attr("macs_m", 3.0)


def two_trials(sampler: OptunaSampler, objectives: Sequence[str]) -> list[FrozenTrial]:
    """One that ends with 0.9, and one that is stopped after an epoch, where it was behind by 0.1."""
    values = {"accuracy": 0.9, "macs_m": 3.0}
    complete = sampler.ask()
    trained(complete, {1: 0.5, 2: 0.8}, 0.9)
    on_disk = [sampler.tell(complete, evaluated(*(values[name] for name in objectives)))]
    trial = sampler.ask()
    trained(trial, {1: 0.4}, 0.4)
    trial.set_user_attr("stopped", 1)
    return [*on_disk, sampler.tell(trial, stopped_with({"accuracy": 0.4, "macs_m": 3.0}))]


@pytest.mark.parametrize("objectives", OBJECTIVES)
def test_a_stopped_trial_is_complete_for_the_sampler_and_pruned_on_disk(objectives: tuple[str, ...]) -> None:
    sampler = OptunaSampler(problem(objectives))
    complete, stopped = two_trials(sampler, objectives)
    assert (complete.state, stopped.state) == (TrialState.COMPLETE, TrialState.PRUNED)
    assert len(complete.values) == len(objectives)
    assert stopped.values is None
    assert sampler.known == [complete.params, stopped.params]
    learnt = sampler.study.trials[1]
    assert (learnt.state, learnt.values) == (TrialState.COMPLETE, pytest.approx([0.8, 3.0][: len(objectives)]))


@pytest.mark.parametrize("objectives", OBJECTIVES)
def test_a_later_run_tells_its_sampler_the_same(objectives: tuple[str, ...]) -> None:
    sampler = OptunaSampler(problem(objectives))
    later = OptunaSampler(problem(objectives), two_trials(sampler, objectives))
    assert later.known == sampler.known
    assert [one.values for one in later.study.trials] == [one.values for one in sampler.study.trials]


def test_nobody_knows_how_the_first_would_have_ended() -> None:
    sampler = OptunaSampler(problem(["accuracy"]))
    told = sampler.tell(sampler.ask(), stopped_with({"accuracy": 0.4}))
    assert told.state == TrialState.PRUNED
    assert sampler.known == []


def test_tpe_goes_where_what_was_stopped_was_good() -> None:
    """With two objectives; told as pruned, all that is stopped is as bad as all else that is."""
    sampler = OptunaSampler(problem(["accuracy", "macs_m"]))
    first = sampler.ask()
    trained(first, {1: 0.9}, 0.9)
    sampler.tell(first, evaluated(0.9, 9.0))
    for _ in range(60):  # cheaper than the first, and the better, the nearer x is to 1; all are stopped
        trial = sampler.ask()
        sampler.tell(trial, stopped_with({"accuracy": 0.8 * trial.params["x"], "macs_m": 3.0}))
    assert sum(sampler.ask().params["x"] for _ in range(20)) / 20 > 0.75


def test_it_is_optunas_sampler_with_the_seed_of_the_sweep() -> None:
    asked = [OptunaSampler(problem(["accuracy"], seed)).ask().params for seed in (0, 0, 1)]
    assert asked[0] == asked[1] != asked[2]
    assert isinstance(OptunaSampler(problem(["accuracy"])).sampler, TPESampler)
