"""Feasible neighbours of known configurations, for a search whose sampler proposes none."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ffnet_search.search.parameters import configuration_of, distributions
from ffnet_search.search.problem import SearchProblem
from ffnet_search.space.configuration import Configuration
from ffnet_search.space.search_space import SearchSpace

STEPS_PER_PROPOSAL = 20  # of the walk, for each of `search.proposals`

Params = Mapping[str, Any]


def feasible_neighbour(
    problem: SearchProblem, starts: Sequence[Params], rng: random.Random, is_new: Callable[[Configuration], bool]
) -> Configuration | None:
    """A new feasible configuration among the starts, given by their parameters, and their neighbours; else None."""
    most = STEPS_PER_PROPOSAL * problem.section.proposals
    for configuration in _walk(problem.space, starts, rng, most):
        if is_new(configuration) and problem.is_feasible(configuration):
            return configuration
    return None


def _walk(space: SearchSpace, starts: Sequence[Params], rng: random.Random, most: int) -> Iterator[Configuration]:
    """The starts in random order, each followed by its neighbours; at most so many neighbours in all."""
    axes, left = distributions(space), most
    for params in rng.sample(starts, len(starts)):
        start = configuration_of(space, params)
        yield start
        moves = [(name, value) for name, axis in axes.items() for value in axis.choices if value != params[name]]
        for name in start.hyperparameters:
            one = space.hyperparameters[name]
            moves += [(name, value) for value in one.choices or (one.draw(rng),) if value != params[name]]
        for name, value in rng.sample(moves, len(moves)):
            moved = {**params, name: value}
            for other, one in space.hyperparameters.items():
                moved.setdefault(other, one.draw(rng))  # a condition may hold only now
            yield configuration_of(space, moved)
            left -= 1
            if not left:
                return
