"""Costs of an architecture without running it, the least that they can be in a search space, and limits on them.

Rejection sampling against a budget that no architecture meets never ends, so the reachable minimum is known first. A
cost that is a sum over `Architecture.parts` lets stages be optimised one after another (dynamic programming): a stage
depends on nothing but the width of the stage before it, the side of its map, and the head that reads it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import product
from typing import NamedTuple, Protocol

from ffnet_search.errors import SweepError
from ffnet_search.metrics import LATENCY, MACS, PARAMS, PEAK_MEMORY, WEIGHTS
from ffnet_search.space.architecture import Architecture, Stage, Stem, merging_part, stem_part
from ffnet_search.space.block import BLOCK_AXES, block_parts, shared_block
from ffnet_search.space.enumeration import enumerated_networks
from ffnet_search.space.head import Head
from ffnet_search.space.parts import Beside, Part
from ffnet_search.space.registry import TrunkStage, head_parts, laterals
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.space.sides import shrunk

Cost = Callable[[Part], float]
Total = Callable[[Iterable[float]], float]  # of the costs of parts: `sum`, or `max`
ROUNDS = 20  # of the search for the least latency, and of re-weighting where several things must be small at once
ANALYTIC: Mapping[str, Cost] = {  # metric that needs no device -> what one part adds to it
    PARAMS.name: lambda part: part.costs.params / 1e6,
    MACS.name: lambda part: part.costs.macs / 1e6,
    WEIGHTS.name: lambda part: 4 * part.costs.params / 1e6,
    PEAK_MEMORY.name: lambda part: 4 * part.costs.memory / 1e6,
}
WORST = {PEAK_MEMORY.name}  # metrics that are the largest over the parts, and not their sum


class Latency(Protocol):
    """The part of a `LatencyTable` that is used here: a prediction that is, up to a constant, the sum of `part_ms` with
    nothing spilt, or with everything, whichever is more. Of a space of a few networks `part_ms` is not asked for."""

    def predict_ms(self, arch: Architecture) -> float: ...
    def part_ms(self, part: Part, spilt: float = 0.0) -> float: ...


def analytic_metrics(arch: Architecture) -> dict[str, float]:
    """The metrics that need no device."""
    return {name: getattr(arch, name) for name in ANALYTIC}


@dataclass(frozen=True)
class CostModel:
    """Metrics of an architecture by name: `latency_ms` by the table, `latency_ms@NAME` by those of other devices, and
    the analytic ones. Without a table (None) there is no `latency_ms`."""

    latency: Latency | None
    devices: Mapping[str, Latency] = field(default_factory=dict)

    def __call__(self, arch: Architecture) -> dict[str, float]:
        return {name: latency.predict_ms(arch) for name, latency in self.latencies.items()} | analytic_metrics(arch)

    @cached_property
    def latencies(self) -> dict[str, Latency]:
        """Metric -> the table that predicts it."""
        tables = {LATENCY.on(name).key: table for name, table in self.devices.items()}
        return tables if self.latency is None else {LATENCY.name: self.latency, **tables}

    @cached_property
    def of_part(self) -> dict[str, Cost]:
        """Metric -> what one part adds to it; to a metric of `WORST` it adds nothing, but is a bound."""
        return {name: latency.part_ms for name, latency in self.latencies.items()} | dict(ANALYTIC)


def smallest_reachable(space: SearchSpace, cost: Cost, total: Total = sum) -> tuple[Architecture, float]:
    """The architecture of `space` with the least sum of `cost` over its parts (or the least maximum), and that.

    `cost` may be negative, but must depend on the part alone. It is called once for each different part: 717 times
    in the shipped space for CIFAR, which has 10^20 architectures."""
    if not space.is_elastic:
        return space.largest, total(map(cost, space.largest.parts))
    costs = _Costs(space, cost, total)
    return min((_cheapest_with(space, costs, head) for head in space.heads), key=lambda network: network[1])


def _cheapest_with(space: SearchSpace, costs: _Costs, head: Head) -> tuple[Architecture, float]:
    """The cheapest architecture with this head, and its cost."""
    images, total = space.images, costs.total
    best: dict[TrunkStage, _Prefix] = {}  # (width of the last stage, side of its map) -> cheapest network so far
    for stem_width, stride, width in product(space.stem.width, space.stem.stride, space.stages[0].width):
        stem = Stem(stem_width, stride)
        part = stem_part(images.resolution, images.channels, width, stem_width, stride)
        side = stem.side_after(images.resolution)
        stage_cost, stage, held = costs.stage(0, TrunkStage(width, side), head, 0)
        so_far = total((costs.of_part(part), stage_cost))
        _keep(best, TrunkStage(width, side), _Prefix(so_far, stem, (stage,), held))
    for index in range(1, len(space.stages)):
        before, best = best, {}
        for ((width_before, side), prefix), width in product(before.items(), space.stages[index].width):
            half = shrunk(side, 2)
            stage_cost, stage, held = costs.stage(index, TrunkStage(width, half), head, prefix.held)
            merging = merging_part(side, width_before, width, width_before * costs.multipliers[index])
            so_far = total((prefix.cost, costs.of_part(Beside.of(merging, prefix.held)), stage_cost))
            _keep(best, TrunkStage(width, half), _Prefix(so_far, prefix.stem, (*prefix.stages, stage), held))
    whole = []
    for state, prefix in best.items():
        head_cost = total(map(costs.of_part, head_parts(images, state, head)))
        whole.append(prefix._replace(cost=total((prefix.cost, head_cost))))
    least = min(whole, key=lambda network: network.cost)
    return Architecture(least.stem, least.stages, images, head), least.cost


class _Prefix(NamedTuple):
    cost: float
    stem: Stem
    stages: tuple[Stage, ...]
    held: int  # elements that the head has by then


def _keep(best: dict[TrunkStage, _Prefix], state: TrunkStage, prefix: _Prefix) -> None:
    if state not in best or prefix.cost < best[state].cost:
        best[state] = prefix


class _Costs:
    """Costs of what a space's networks consist of, each computed once."""

    def __init__(self, space: SearchSpace, cost: Cost, total: Total) -> None:
        self.space, self.total = space, total
        self.of_part, self.stage = cache(cost), cache(self._cheapest_stage)
        self.multipliers = [stage.multiplier for stage in space.largest.stages]

    def _cheapest_stage(self, index: int, stage: TrunkStage, head: Head, held: int) -> tuple[float, Stage, int]:
        """The cost of the cheapest stage, the stage, and the elements that the head holds after it.

        Repeats one block, also where it is chosen per block: its cost depends on no other. Leaves merging out."""
        choices, options = self.space.stages[index], []
        for values in product(*map(choices.choices, BLOCK_AXES)):
            block = shared_block(*values)
            parts = (Beside.of(part, held) for part in block_parts(block, stage.side, stage.width))
            cost = self.total(map(self.of_part, parts))
            options += [(self.total([cost] * depth), block, depth) for depth in choices.depth]
        cost, block, depth = min(options, key=lambda option: option[0])
        for lateral in laterals(self.space.images, (stage,), head).values():
            cost = self.total((cost, self.of_part(Beside.of(lateral, held))))
            held = lateral.held
        return cost, Stage(stage.width, (block,) * depth, self.multipliers[index]), held


def cheapest(space: SearchSpace, cost_model: CostModel, metric: str) -> Architecture:
    """The architecture of `space` with the least value of `metric`; `least_latency` says how exactly."""
    if listed := enumerated_networks(space):
        return min(listed, key=lambda arch: cost_model(arch)[metric])
    if metric in cost_model.latencies:
        return least_latency(space, cost_model.latencies[metric])
    return smallest_reachable(space, cost_model.of_part[metric], max if metric in WORST else sum)[0]


class _Minimiser(NamedTuple):
    """The architecture a with the least P(a) + lambda S(a), in the notation of `least_latency`."""

    arch: Architecture
    total_ms: float  # P + lambda S
    parts_ms: float  # P
    all_spilt_ms: float  # S
    predicted_ms: float  # T

    @property
    def beyond_ms(self) -> float:
        """T - P: the constant, and the weights that do spill."""
        return self.predicted_ms - self.parts_ms


def least_latency(space: SearchSpace, latency: Latency) -> Architecture:
    """The architecture of `space` with the least predicted latency, by Lagrangian duality.

    A prediction is T(a) = c + P(a) + max(0, S(a) - r): the parts with all weights resident, and the weights that do not
    fit the cache, where S is the time to fetch all and r that of those that fit. As max(0, s) is the largest lambda s
    for 0 <= lambda <= 1,

        min_a T(a) >= max_lambda L(lambda),  L(lambda) = c - lambda r + min_a [P(a) + lambda S(a)].

    The inner minimum is additive over parts, so it is exact. L is concave and piecewise linear: its maximum lies
    between the minimiser at lambda = 0, which may spill, and the one at lambda = 1. Each round tries the lambda where
    the lines of the two cross, and replaces one of them, until no line lies below. The answer is the best of all
    networks tried: exact unless there is a duality gap, where it is one of the two networks at the maximum. Of a few
    networks each is asked for."""
    if listed := enumerated_networks(space):
        return min(listed, key=latency.predict_ms)

    def minimise(spilt: float) -> _Minimiser:
        arch, total_ms = smallest_reachable(space, lambda part: latency.part_ms(part, spilt))
        parts_ms = sum(map(latency.part_ms, arch.parts))
        all_spilt_ms = sum(latency.part_ms(part, 1.0) for part in arch.parts) - parts_ms
        return _Minimiser(arch, total_ms, parts_ms, all_spilt_ms, latency.predict_ms(arch))

    light, heavy = minimise(1.0), minimise(0.0)  # heavy: more weights, less to compute
    tried = [heavy, light]
    for _ in range(ROUNDS):
        if heavy.beyond_ms <= light.beyond_ms + 1e-9:  # nothing spills of either
            break
        crossing = (light.parts_ms - heavy.parts_ms) / (heavy.all_spilt_ms - light.all_spilt_ms)
        between = minimise(crossing)
        tried.append(between)
        if between.total_ms >= light.parts_ms + crossing * light.all_spilt_ms - 1e-9:
            break
        if between.beyond_ms > light.beyond_ms + 1e-9:
            heavy = between
        else:
            light = between
    return min(tried, key=lambda one: one.predicted_ms).arch


def check_budget(space: SearchSpace, cost_model: CostModel, limits: Mapping[str, float]) -> None:
    """Raise SweepError if a limit is below all that the space holds, naming what can be reached and by what.

    Limits on metrics that the cost model does not have are left out."""
    for name, limit in limits.items():
        if name not in cost_model.of_part:
            continue
        arch = cheapest(space, cost_model, name)
        least = cost_model(arch)[name]
        if least > limit:
            raise SweepError(
                f"search.constraints.{name} must be >= {_rounded_up(least)}, the least that the search space reaches, "
                f"but got {limit:g}; raise it, or give the space smaller choices (the architecture that reaches it is "
                f"{arch.key}: {arch})"
            )


def _rounded_up(value: float) -> str:
    """Three digits that are not below `value`: a limit that is copied from the message must do."""
    step = 10.0 ** (math.floor(math.log10(value)) - 2) if value > 0 else 1.0
    return f"{math.ceil(value / step) * step:.6g}"


def within_limits(space: SearchSpace, cost_model: CostModel, limits: Mapping[str, float]) -> Architecture | None:
    """An architecture that keeps all limits at once, or None if the heuristic fails.

    Minimises weighted sums of `value / limit`, and moves weight to the limits that are still exceeded (multiplicative
    weights). One limit is met at once; for several it is a heuristic, since sums miss what lies inside the hull. A few
    networks are all tried."""
    if listed := enumerated_networks(space):
        kept = (arch for arch in listed if all(cost_model(arch)[name] <= limit for name, limit in limits.items()))
        return next(kept, None)
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
