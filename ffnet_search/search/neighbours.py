"""Configurations that differ from known ones in one choice: what is tried where a sampler proposes nothing feasible."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.trial_params import configuration_of, distributions
from ffnet_search.space.hyperparameters import Configuration

STEPS_PER_PROPOSAL = 20  # neighbours looked at, for each of `search.proposals`
Params = Mapping[str, Any]


def feasible_neighbour(
    problem: SearchProblem, starts: Sequence[Params], rng: random.Random, is_new: Callable[[Configuration], bool]
) -> Configuration | None:
    """A new feasible configuration among the starts, given by their parameters, and their neighbours; else None."""
    walk = _walk(problem, starts, rng)
    return next((config for config in walk if is_new(config) and problem.is_feasible(config)), None)


def _walk(problem: SearchProblem, starts: Sequence[Params], rng: random.Random) -> Iterator[Configuration]:
    """The starts in random order, each followed by its neighbours, until enough of these are made."""
    space = problem.space
    axes, left = distributions(space), STEPS_PER_PROPOSAL * problem.section.proposals
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
