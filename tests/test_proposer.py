"""What the sampler is told of trials, and what of them is to be on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState

from ffnet_search.config.schema import SearchSection
from ffnet_search.evaluation.outcome import Stopped
from ffnet_search.search.samplers.proposer import Proposer
from ffnet_search.space.search_space import SearchSpace

SPACE = SearchSpace.model_validate(
    {"hyperparameters": {"x": {"low": 0.0, "high": 1.0}, "y": {"low": 0.0, "high": 1.0}}}
)
OBJECTIVES = [("accuracy",), ("accuracy", "macs_m")]


def section_of(objectives: Sequence[str]) -> SearchSection:
    return SearchSection(objectives=tuple(objectives), evaluator="train")


def trained(trial: Trial, reports: Mapping[int, float], accuracy: float) -> None:
    """What the search writes into a trial that is over."""
    trial.set_user_attr("reports", {epoch: {"accuracy": x} for epoch, x in reports.items()})
    trial.set_user_attr("accuracy", accuracy)
    trial.set_user_attr("macs_m", 3.0)


def two_trials(proposer: Proposer, objectives: Sequence[str]) -> list[FrozenTrial]:
    """One that ends with 0.9, and one that is stopped after an epoch, where it was behind by 0.1."""
    values = {"accuracy": 0.9, "macs_m": 3.0}
    complete = proposer.ask()
    trained(complete, {1: 0.5, 2: 0.8}, 0.9)
    on_disk = [proposer.tell(complete, [values[name] for name in objectives])]
    trial = proposer.ask()
    trained(trial, {1: 0.4}, 0.4)
    trial.set_user_attr("stopped", 1)
    return [*on_disk, proposer.tell(trial, Stopped(1, {"accuracy": 0.4, "macs_m": 3.0}))]


@pytest.mark.parametrize("objectives", OBJECTIVES)
def test_a_stopped_trial_is_complete_for_the_sampler_and_pruned_on_disk(objectives: tuple[str, ...]) -> None:
    proposer = Proposer(SPACE, section_of(objectives), 0, [])
    complete, stopped = two_trials(proposer, objectives)
    assert (complete.state, stopped.state) == (TrialState.COMPLETE, TrialState.PRUNED)
    assert len(complete.values) == len(objectives)
    assert stopped.values is None
    assert proposer.known == [complete.params, stopped.params]
    learnt = proposer._study.trials[1]
    assert (learnt.state, learnt.values) == (TrialState.COMPLETE, pytest.approx([0.8, 3.0][: len(objectives)]))


@pytest.mark.parametrize("objectives", OBJECTIVES)
def test_a_later_run_tells_its_sampler_the_same(objectives: tuple[str, ...]) -> None:
    proposer = Proposer(SPACE, section_of(objectives), 0, [])
    later = Proposer(SPACE, section_of(objectives), 0, two_trials(proposer, objectives))
    assert later.known == proposer.known
    assert [one.values for one in later._study.trials] == [one.values for one in proposer._study.trials]


def test_nobody_knows_how_the_first_would_have_ended() -> None:
    proposer = Proposer(SPACE, section_of(["accuracy"]), 0, [])
    told = proposer.tell(proposer.ask(), Stopped(1, {"accuracy": 0.4}))
    assert told.state == TrialState.PRUNED
    assert proposer.known == []


def test_tpe_goes_where_what_was_stopped_was_good() -> None:
    """With two objectives; told as pruned, all that is stopped is as bad as all else that is."""
    section = section_of(["accuracy", "macs_m"])
    proposer = Proposer(SPACE, section, 0, [])
    first = proposer.ask()
    trained(first, {1: 0.9}, 0.9)
    proposer.tell(first, [0.9, 9.0])
    for _ in range(60):  # cheaper than the first, and the better, the nearer x is to 1; all are stopped
        trial = proposer.ask()
        proposer.tell(trial, Stopped(1, {"accuracy": 0.8 * trial.params["x"], "macs_m": 3.0}))
    assert sum(proposer.ask().params["x"] for _ in range(20)) / 20 > 0.75


def test_it_is_optunas_sampler_with_the_seed_of_the_sweep() -> None:
    asked = [Proposer(SPACE, section_of(["accuracy"]), seed, []).ask().params for seed in (0, 0, 1)]
    assert asked[0] == asked[1] != asked[2]
    assert isinstance(Proposer(SPACE, section_of(["accuracy"]), 0, [])._study.sampler, TPESampler)
