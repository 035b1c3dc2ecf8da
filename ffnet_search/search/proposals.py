"""Configurations that no sampler proposes: those that a search begins with, and feasible neighbours of known ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.trial_record import configuration_of, distributions
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.configuration import Configuration
from ffnet_search.space.feasibility import cheapest

STEPS_PER_PROPOSAL = 20  # of the walk, for each of `search.proposals`

Params = Mapping[str, Any]


def initial_architectures(problem: SearchProblem) -> Iterator[tuple[str, Architecture | None]]:
    """Origin and architecture, in order: the ends of the space, the published networks, and the ends of the front that
    are known without evaluation. May repeat an architecture."""
    space, model, section = problem.space, problem.cost_model, problem.section
    if model is None:
        yield "recipe", space.architecture
        return
    yield "smallest", space.smallest
    yield "largest", space.largest
    yield from space.presets.items()
    for metric in model.of_part:
        if metric in section.objectives or metric in section.constraints:
            yield f"least {metric}", cheapest(space, model, metric)


def feasible_neighbour(
    problem: SearchProblem, starts: Sequence[Params], rng: random.Random, is_new: Callable[[Configuration], bool]
) -> Configuration | None:
    """A new feasible configuration among the starts, given by their parameters, and their neighbours; else None."""
    for configuration in _walk(problem, starts, rng):
        if is_new(configuration) and problem.is_feasible(configuration):
            return configuration
    return None


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
