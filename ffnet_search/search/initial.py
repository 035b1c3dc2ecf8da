"""The configurations that a search begins with, before its sampler proposes any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ffnet_search.search.parameters import configuration_of
from ffnet_search.search.pending import PendingTrial
from ffnet_search.search.problem import SearchProblem
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.configuration import Configuration
from ffnet_search.space.feasibility import cheapest


def initial_configurations(
    problem: SearchProblem, interrupted: Sequence[PendingTrial]
) -> Iterator[tuple[str, Configuration]]:
    """Origin and configuration, in order: interrupted trials, the ends of the space, the published networks, and the
    ends of the front that are known without evaluation. May repeat a configuration."""
    for trial in interrupted:
        yield trial.origin, configuration_of(problem.space, trial.params)
    for origin, arch in _architectures(problem):
        yield origin, Configuration(arch, problem.initial_hyperparameters)


def _architectures(problem: SearchProblem) -> Iterator[tuple[str, Architecture | None]]:
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
