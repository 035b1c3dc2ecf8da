"""The reference point of `ParetoSampler`: from the random start, limits, and known costs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from sampler_studies import CHAIN, START, proposed, searched, study_of_chain

from ffnet_search.search.samplers.pareto import Known, ParetoSampler


def test_the_reference_point_is_that_of_the_random_start_and_the_limit() -> None:
    study = study_of_chain()
    sampler = study.sampler
    assert isinstance(sampler, ParetoSampler)
    assert sampler.reference_point(study) is None
    first = sampler.reference_point(searched(study, START))
    assert first is not None and first[1] == pytest.approx(6.0)  # a constraint that is an objective and its limit
    assert sampler.reference_point(searched(study, 6)) == first
    given = study_of_chain(reference=[2.0, None])
    assert isinstance(given.sampler, ParetoSampler)
    assert given.sampler.reference_point(searched(given, START)) == [2.0, pytest.approx(6.0)]


def test_a_limit_stays_the_same_to_the_last_bit() -> None:
    """A resumed study computes it from more trials than the first proposals did."""
    study = study_of_chain()
    assert isinstance(study.sampler, ParetoSampler)
    points = [study.sampler.reference_point(searched(study, count, limit=6.1)) for count in (START, 12, 12)]
    assert points[0] == points[1] == points[2]


def test_the_reference_point_does_not_move_when_a_slow_trial_of_the_start_ends() -> None:
    study = study_of_chain()
    slow = [study.ask(CHAIN) for _ in range(2)]
    searched(study, START + 2)
    assert isinstance(study.sampler, ParetoSampler)
    before = study.sampler.reference_point(study)
    for trial in slow:
        trial.set_constraint("cost", 1.0)
        study.tell(trial, (0.0, 12.0))
    assert study.sampler.reference_point(study) == before


def test_a_reference_of_too_few_values_is_refused() -> None:
    with pytest.raises(ValueError, match="a value .* for each of 2 objectives"):
        searched(study_of_chain(reference=[1.0]), START + 1)


def test_a_known_cost_without_a_limit_is_searched_up_to_that_of_the_best_network() -> None:
    """Random configurations are cheaper than the best one, and nearly all of the front lies beyond them."""
    axes = {f"axis{at}": CategoricalDistribution([1, 2, 4, 8]) for at in range(10)}

    def cost(params: Mapping[str, int]) -> float:
        return float(np.prod([params[name] for name in axes]))

    slow = []
    for known in (None, lambda params: Known({1: cost(params)})):
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=ParetoSampler(0, known=known))
        study.enqueue_trial(dict.fromkeys(axes, 8))
        for _ in range(60):
            trial = study.ask(axes)
            study.tell(trial, (np.log2(cost(trial.params)) + trial.params["axis0"] / 8, cost(trial.params)))
        assert isinstance(study.sampler, ParetoSampler)
        reference = study.sampler.reference_point(study)
        assert reference is not None
        slow.append((sum(cost(params) > 2**22 for params in proposed(study)[20:]), reference[1]))
    assert slow[1][1] == pytest.approx(8**10) and slow[0][1] < 8**10
    assert slow[1][0] >= 5
