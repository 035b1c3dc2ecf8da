"""The least that an additive cost can be in a search space, exactly: what budget can be met at all.

Rejection sampling against a budget that no architecture meets never ends, so the reachable minimum is known first. A
cost that is a sum over `Architecture.parts` lets stages be optimised one after another (dynamic programming): all that
a stage knows of those before it is their last width and the side of its map.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import NamedTuple, Protocol

from ffnet_search.errors import SweepError
from ffnet_search.space.architecture import Architecture, Block, Input, Stage, Stem
from ffnet_search.space.parts import Part
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.space.stage_choices import BLOCK_AXES, StageChoices

Cost = Callable[[Part], float]
Total = Callable[[Iterable[float]], float]  # of the costs of parts: `sum`, or `max`
WORST = {"peak_memory_mb"}  # metrics that are the largest over the parts, and not their sum
ROUNDS = 20  # of re-weighting, where several things must be small at once


class Latency(Protocol):
    """What is asked of a `LatencyTable`: a prediction that is, up to a constant, the sum of `part_ms` with nothing
    spilt, or with everything, whichever is more."""

    def predict_ms(self, arch: Architecture) -> float: ...
    def part_ms(self, part: Part, spilt: float = 0.0) -> float: ...


def analytic_metrics(arch: Architecture) -> dict[str, float]:
    """The metrics that need no device."""
    return {name: getattr(arch, name) for name in ("params_m", "macs_m", "weights_mb", "peak_memory_mb")}


@dataclass(frozen=True)
class CostModel:
    """What is known of an architecture without running it: `latency_ms` by the table, `latency_ms@NAME` by those of
    other devices, `params_m`, `macs_m`, `weights_mb` and `peak_memory_mb`."""

    latency: Latency
    devices: Mapping[str, Latency] = field(default_factory=dict)

    def __call__(self, arch: Architecture) -> dict[str, float]:
        return {name: latency.predict_ms(arch) for name, latency in self._latencies.items()} | analytic_metrics(arch)

    @cached_property
    def _latencies(self) -> dict[str, Latency]:
        return {"latency_ms": self.latency} | {f"latency_ms@{name}": table for name, table in self.devices.items()}

    @cached_property
    def of_part(self) -> dict[str, Cost]:
        """Metric -> what one part adds to it; to `peak_memory_mb` it adds nothing, but is a bound."""
        return {name: latency.part_ms for name, latency in self._latencies.items()} | {
            "params_m": lambda part: part.params / 1e6,
            "macs_m": lambda part: part.macs / 1e6,
            "weights_mb": lambda part: 4 * part.params / 1e6,
            "peak_memory_mb": lambda part: 4 * part.memory / 1e6,
        }

    def least(self, space: SearchSpace, metric: str) -> Architecture:
        """The architecture of `space` with the least value of `metric`.

        Exact, but for latency where what is fastest while nothing spills does spill, and what is fastest when all does
        has weights that would not: then it is the better of the two networks between which the Lagrangian dual turns.
        """
        if metric not in self._latencies:
            return smallest_reachable(space, self.of_part[metric], max if metric in WORST else sum)[0]
        latency = self._latencies[metric]

        def fastest(spilt: float) -> _Fastest:
            arch, total = smallest_reachable(space, lambda part: latency.part_ms(part, spilt))
            parts_ms = sum(map(latency.part_ms, arch.parts))
            all_spilt_ms = sum(latency.part_ms(part, 1.0) for part in arch.parts) - parts_ms
            return _Fastest(arch, total, parts_ms, all_spilt_ms, latency.predict_ms(arch))

        lean, found = fastest(1.0), [fastest(0.0)]
        heavy = found[0]
        for _ in range(ROUNDS):  # heavy: more weights, less to compute
            if heavy.beyond_ms <= lean.beyond_ms + 1e-9:  # nothing spills of either
                break
            turn = (lean.parts_ms - heavy.parts_ms) / (heavy.all_spilt_ms - lean.all_spilt_ms)
            between = fastest(turn)
            found += [lean, between]
            if between.total >= lean.parts_ms + turn * lean.all_spilt_ms - 1e-9:
                break
            if between.beyond_ms > lean.beyond_ms + 1e-9:
                heavy = between
            else:
                lean = between
        return min([*found, lean], key=lambda one: one.predicted_ms).arch


class _Fastest(NamedTuple):
    """The architecture with the least sum, were some share of all weights spilt."""

    arch: Architecture
    total: float
    parts_ms: float
    all_spilt_ms: float  # what spilling all of its weights costs
    predicted_ms: float

    @property
    def beyond_ms(self) -> float:
        """What its prediction has beyond its parts: the intercept, and what does spill."""
        return self.predicted_ms - self.parts_ms


class _Constraints(Protocol):
    @property
    def constraints(self) -> Mapping[str, float]: ...


class Budgeted(Protocol):
    """What is asked of a `Sweep`."""

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
    """An architecture that keeps all limits at once, or None where none was found.

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


def smallest_reachable(space: SearchSpace, cost: Cost, total: Total = sum) -> tuple[Architecture, float]:
    """The architecture of `space` with the least sum of `cost` over its parts (or the least maximum), and that.

    `cost` may be negative, but must depend on the part alone. It is asked once for each different part: 717 times in
    the shipped space for CIFAR, which has 10^20 architectures.

    >>> space = SearchSpace.from_yaml("search_spaces/ffnet_digits.yaml")  # doctest: +SKIP
    >>> smallest_reachable(space, lambda part: part.params / 1e6)  # doctest: +SKIP
    """
    if not space.is_elastic:
        return space.largest, total(map(cost, space.largest.parts))
    tables = _Costs(space, cost, total)
    best: dict[tuple[int, int], _Prefix] = {}  # (width of the last stage, side of its map) -> cheapest network so far
    for width, stride, first in product(space.stem.width, space.stem.stride, space.stages[0].width):
        stem = Stem(width, stride)
        side = _side_after(space.images.resolution, stem)
        stage = tables.stage(0, side, first)
        _keep(best, (first, side), _Prefix(total((tables.stem(stem, first), stage.cost)), stem, (stage.value,)))
    for index in range(1, len(space.stages)):
        before, best = best, {}
        for ((width_before, side), prefix), width in product(before.items(), space.stages[index].width):
            half = -(-side // 2)
            stage = tables.stage(index, half, width)
            so_far = total((prefix.cost, tables.merging(index, side, width_before, width), stage.cost))
            _keep(best, (width, half), _Prefix(so_far, prefix.stem, (*prefix.stages, stage.value)))
    least, prefix = min(
        ((total((prefix.cost, tables.head(side, width))), prefix) for (width, side), prefix in best.items()),
        key=lambda pair: pair[0],
    )
    return Architecture(prefix.stem, prefix.stages, space.largest.input), least


class _Prefix(NamedTuple):
    """The front of a network, up to some stage."""

    cost: float
    stem: Stem
    stages: tuple[Stage, ...]


class _CheapestStage(NamedTuple):
    cost: float
    value: Stage


def _keep(best: dict[tuple[int, int], _Prefix], state: tuple[int, int], prefix: _Prefix) -> None:
    if state not in best or prefix.cost < best[state].cost:
        best[state] = prefix


def _side_after(side: int, stem: Stem) -> int:
    for stride in stem.strides:
        side = -(-side // stride)
    return side


@dataclass
class _Costs:
    """Costs of the pieces of a space's networks. Parts are taken from miniature networks, so that what a network is
    made of is written down once, in `Architecture`."""

    space: SearchSpace
    cost: Cost
    total: Total

    def __post_init__(self) -> None:
        self._parts: dict[Part, float] = {}
        self._stages: dict[tuple[int, int, int], _CheapestStage] = {}
        self._multipliers = [stage.multiplier for stage in self.space.largest.stages]

    def stem(self, stem: Stem, width: int) -> float:
        return self._of(Architecture(stem, (Stage(width, (Block(),)),), self.space.largest.input).parts[:1])

    def merging(self, index: int, side: int, before: int, width: int) -> float:
        stages = (Stage(before, (Block(),)), Stage(width, (Block(),), self._multipliers[index]))
        return self._of(_miniature(side, stages).parts[3:4])

    def head(self, side: int, width: int) -> float:
        network = _miniature(side, (Stage(width, (Block(),)),))
        return self._of(replace(network, input=replace(network.input, classes=self.space.images.classes)).parts[-1:])

    def stage(self, index: int, side: int, width: int) -> _CheapestStage:
        """The cheapest depth and blocks of a stage at this width, without the patch merging in front of it."""
        state = (index, side, width)
        if state not in self._stages:
            choices = self.space.stages[index]
            options = (
                _CheapestStage(self.total([cost] * depth), Stage(width, (block,) * depth, self._multipliers[index]))
                for cost, block in self._blocks(choices, side, width)
                for depth in choices.depth
            )
            self._stages[state] = min(options, key=lambda option: option.cost)
        return self._stages[state]

    def _blocks(self, choices: StageChoices, side: int, width: int) -> Iterator[tuple[float, Block]]:
        """Every block of the stage with its cost. The cheapest stage repeats one of them, whether its axes are chosen
        per stage or per block: the blocks of a stage do not see each other."""
        for values in product(*(getattr(choices, axis) for axis in BLOCK_AXES)):
            block = Block(*values)
            yield self._of(_miniature(side, (Stage(width, (block,)),)).parts[1:3]), block

    def _of(self, parts: tuple[Part, ...]) -> float:
        for part in parts:
            if part not in self._parts:
                self._parts[part] = self.cost(part)
        return self.total(self._parts[part] for part in parts)


def _miniature(side: int, stages: tuple[Stage, ...]) -> Architecture:
    """A network whose first stage sees a map of `side` pixels: its stem keeps the side."""
    return Architecture(Stem(1, 1), stages, Input(channels=1, resolution=side, classes=2))
