"""A neighbour differs in one choice, keeps all limits and is new."""

from __future__ import annotations

import random

import pytest
from searches import CHEAP, TINY

from ffnet_search.config.search_schema import SearchSection
from ffnet_search.search.neighbours import STEPS_PER_PROPOSAL, feasible_neighbour
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.trial_params import configuration_of, distributions, params_of
from ffnet_search.space.hyperparameters import Configuration

START = params_of(TINY, Configuration(TINY.smallest))


def problem(limit: float = 1e9, proposals: int = 1) -> SearchProblem:
    return SearchProblem(TINY, SearchSection(constraints={"params_m": limit}, proposals=proposals), CHEAP)


def test_the_start_comes_first_then_one_changed_choice() -> None:
    rng = random.Random(0)
    assert feasible_neighbour(problem(), [START], rng, lambda one: True) == configuration_of(TINY, START)
    seen = {TINY.smallest.key}
    for _ in range(sum(len(axis.choices) - 1 for axis in distributions(TINY).values())):
        neighbour = feasible_neighbour(problem(), [START], rng, lambda one: one.key not in seen)
        if neighbour is None:
            break
        params = params_of(TINY, neighbour)
        assert sum(params[name] != value for name, value in START.items()) == 1
        seen.add(neighbour.key)
    assert len(seen) >= 4


def test_a_neighbour_keeps_all_limits() -> None:
    least = TINY.smallest.params_m
    found = feasible_neighbour(problem(least), [START], random.Random(0), lambda one: one.key != TINY.smallest.key)
    assert found is None or problem(least).is_feasible(found)
    assert feasible_neighbour(problem(least / 2), [START], random.Random(0), lambda one: True) is None


@pytest.mark.parametrize("proposals", [1, 2])
def test_the_walk_ends_after_so_many_neighbours(proposals: int) -> None:
    looked: list[str] = []

    def is_new(configuration: Configuration) -> bool:
        looked.append(configuration.key)
        return False

    assert feasible_neighbour(problem(proposals=proposals), [START] * 50, random.Random(0), is_new) is None
    neighbours = [key for key in looked if key != TINY.smallest.key]
    assert len(neighbours) == STEPS_PER_PROPOSAL * proposals
