"""Budgets that a search space can meet: the least of each metric, and an architecture within all limits.

Rejection sampling against a budget that no architecture meets never ends, so the reachable minimum is known first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from ffnet_search.errors import SweepError
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.cheapest import smallest_reachable
from ffnet_search.space.cost_model import WORST, CostModel
from ffnet_search.space.parts import Part
from ffnet_search.space.search_space import SearchSpace

ROUNDS = 20  # of re-weighting, where several things must be small at once


class _Constraints(Protocol):
    @property
    def constraints(self) -> Mapping[str, float]: ...


class Budgeted(Protocol):
    """The part of a `Sweep` that is used here."""

    @property
    def search_space(self) -> SearchSpace: ...
    @property
    def search(self) -> _Constraints: ...
    @property
    def path(self) -> Path: ...


def check_budget(sweep: Budgeted, cost_model: CostModel) -> None:
    """Raises SweepError where a constraint is below all that the space holds, naming what can be reached and by what.

    Takes well under a second, so it can be asked before anything is trained.
    """
    for name, limit in sweep.search.constraints.items():
        arch = cost_model.least(sweep.search_space, name)
        least = cost_model(arch)[name]
        if least > limit:
            raise SweepError(
                f"{sweep.path}: search.constraints.{name} must be >= {_rounded_up(least)}, the least that the search "
                f"space reaches, but got {limit:g}; raise it, or give the space smaller choices (the architecture that "
                f"reaches it is {arch.key}: {arch})"
            )


def _rounded_up(value: float) -> str:
    """Three digits that are not below `value`: a limit that is copied from the message must do."""
    step = 10.0 ** (math.floor(math.log10(value)) - 2) if value > 0 else 1.0
    return f"{math.ceil(value / step) * step:.6g}"


def within_limits(space: SearchSpace, cost_model: CostModel, limits: Mapping[str, float]) -> Architecture | None:
    """An architecture that keeps all limits at once, or None where the heuristic fails.

    Minimises weighted sums of `value / limit`, and moves weight to the limits that are still exceeded (multiplicative
    weights). One limit is met at once; for several it is a heuristic, since sums miss what lies inside the hull.
    """
    costs, bounds = cost_model.of_part, {name: limit for name, limit in limits.items() if name in WORST}
    weights = dict.fromkeys(limits.keys() - bounds, 1.0)
    for _ in range(ROUNDS):
        scales = {name: weight / limits[name] for name, weight in weights.items()}

        def cost(part: Part, scales: Mapping[str, float] = scales) -> float:
            if any(costs[name](part) > bound for name, bound in bounds.items()):
                return math.inf
            return sum(scale * costs[name](part) for name, scale in scales.items())

        arch, _ = smallest_reachable(space, cost)
        excess = {name: value / limits[name] - 1 for name, value in cost_model(arch).items() if name in limits}
        if all(value <= 0 for value in excess.values()):
            return arch
        weights = {name: weight * math.exp(min(excess[name], 2.0)) for name, weight in weights.items()}
    return None
