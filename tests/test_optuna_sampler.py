"""The study in memory that a sampler of Optuna learns from, and what of its trials is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState
from searches import CHEAP, DIGITS

from ffnet_search.config.search_schema import SearchSection
from ffnet_search.evaluation.outcome import Stopped
from ffnet_search.search.archive import Entry
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.samplers.optuna import OptunaSampler, known_of
from ffnet_search.search.samplers.pareto import ParetoSampler
from ffnet_search.search.storage.trial_params import configuration_of, params_of
from ffnet_search.space.hyperparameters import Configuration
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


@pytest.mark.parametrize("kind", [ParetoSampler, TPESampler])
def test_it_is_the_named_sampler_with_the_seed_of_the_sweep(kind: type[BaseSampler]) -> None:
    def sampler(seed: int) -> OptunaSampler:
        section = SearchSection(objectives=("accuracy",), evaluator="train", sampler={"class_path": kind.__name__})
        return OptunaSampler(SearchProblem(SPACE, section, seed=seed))

    asked = [sampler(seed).ask().params for seed in (0, 0, 1)]
    assert asked[0] == asked[1] != asked[2]
    assert isinstance(sampler(0).sampler, kind)


def test_our_sampler_knows_what_needs_no_evaluation_and_proposes_what_is_feasible() -> None:
    """And in a space where most choices have no effect nothing is proposed twice."""
    section = SearchSection(objectives=("accuracy", "latency_ms"), constraints={"latency_ms": 0.06, "params_m": 0.1})
    problem = SearchProblem(DIGITS, section, CHEAP)
    sampler, keys = OptunaSampler(problem), set[str]()
    for number in range(24):
        trial = sampler.ask()
        known = known_of(problem, trial.params)
        if number:
            assert max(known.excess.values()) <= 0
        key = configuration_of(DIGITS, trial.params).key
        assert key not in keys
        keys.add(key)
        for name, value in known.excess.items():
            trial.set_constraint(name, value)
        entry = Entry("infeasible") if max(known.excess.values()) > 0 else evaluated(number / 24, known.values[1])
        sampler.tell(trial, entry)
    assert sampler.reference["latency_ms"] == pytest.approx(0.06)


def test_choices_without_effect_are_left_out_of_what_is_known() -> None:
    smallest = Configuration(DIGITS.smallest)
    known = known_of(SearchProblem(DIGITS, SearchSection(), CHEAP), params_of(DIGITS, smallest))
    assert known.params is not None
    assert configuration_of(DIGITS, known.params) == smallest
