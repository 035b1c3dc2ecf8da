"""The problem that a search solves: which configurations exist, which are feasible, and which are better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ffnet_search.config.search_schema import SearchSection
from ffnet_search.metrics import Direction, sign
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.cost_model import CostModel, analytic_metrics, cheapest
from ffnet_search.space.hyperparameters import Configuration, Value, settle
from ffnet_search.space.search_space import SearchSpace


@dataclass(frozen=True)
class SearchProblem:
    """A search space, and the `search` section of a sweep. `start`: hyper-parameters of the first configurations.

    `cost_model` is None if no latency is known, so that of the costs only the analytic ones are."""

    space: SearchSpace
    section: SearchSection
    cost_model: CostModel | None = None
    seed: int = 0
    start: Mapping[str, Value] = field(default_factory=dict)

    @cached_property
    def objectives(self) -> dict[str, Direction]:
        """Objective -> direction."""
        return self.section.directions

    @cached_property
    def initial_hyperparameters(self) -> dict[str, Value]:
        """The values of the search space that are nearest to `start`."""
        return settle(self.space.hyperparameters, lambda name, one: one.nearest(self.start.get(name)))

    @cached_property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Metric -> worst and perfect value, for the hypervolume: costs of the largest network or limits, and zero."""
        most = self.known_metrics(Configuration(self.space.largest)) if self.space.has_network else {}
        bounds = {name: (worst, 0.0) for name, worst in {**most, **self.section.cost_limits}.items()}
        named = {name: self.section.metric(name).bounds for name in self.section.objectives}
        return bounds | {name: pair for name, pair in named.items() if pair}

    def known_metrics(self, configuration: Configuration) -> dict[str, float]:
        """The metrics that need no evaluation."""
        arch = configuration.architecture
        if arch is None:
            return {}
        return analytic_metrics(arch) if self.cost_model is None else self.cost_model(arch)

    def excess(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Constraint -> value / limit - 1, or its negative where more is better: feasible where <= 0, as in Optuna.
        Relative, since samplers add them up. Constraints whose metric is not known yet are left out."""
        return {
            name: sign(self.section.metric(name).direction) * (metrics[name] / limit - 1)
            for name, limit in self.section.constraints.items()
            if name in metrics or name in self.section.cost_limits
        }

    def is_feasible(self, configuration: Configuration) -> bool:
        """True if a configuration keeps all constraints."""
        return all(excess <= 0 for excess in self.excess(self.known_metrics(configuration)).values())

    def initial_architectures(self) -> Iterator[tuple[str, Architecture | None]]:
        """Origin and architecture, in order: the ends of the space, the published networks, and the ends of the front
        that are known without evaluation. May repeat an architecture."""
        space, model = self.space, self.cost_model
        if model is None:
            yield "recipe", space.architecture
            return
        yield "smallest", space.smallest
        yield "largest", space.largest
        yield from space.presets.items()
        for metric in model.of_part:
            if metric in self.section.objectives or metric in self.section.constraints:
                yield f"least {metric}", cheapest(space, model, metric)
