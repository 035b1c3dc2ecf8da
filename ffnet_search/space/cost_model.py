"""Costs of an architecture without running it: latency by a table, and metrics that need no device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol

from ffnet_search.metrics import LATENCY, MACS, PARAMS, PEAK_MEMORY, WEIGHTS
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.cheapest import Cost, smallest_reachable
from ffnet_search.space.parts import Part
from ffnet_search.space.search_space import SearchSpace

ANALYTIC: Mapping[str, Cost] = {  # metric that needs no device -> what one part adds to it
    PARAMS.name: lambda part: part.params / 1e6,
    MACS.name: lambda part: part.macs / 1e6,
    WEIGHTS.name: lambda part: 4 * part.params / 1e6,
    PEAK_MEMORY.name: lambda part: 4 * part.memory / 1e6,
}
WORST = {PEAK_MEMORY.name}  # metrics that are the largest over the parts, and not their sum
ROUNDS = 20  # of the search for the least latency


class Latency(Protocol):
    """The part of a `LatencyTable` that is used here: a prediction that is, up to a constant, the sum of `part_ms` with
    nothing spilt, or with everything, whichever is more."""

    def predict_ms(self, arch: Architecture) -> float: ...
    def part_ms(self, part: Part, spilt: float = 0.0) -> float: ...


def analytic_metrics(arch: Architecture) -> dict[str, float]:
    """The metrics that need no device."""
    return {name: getattr(arch, name) for name in ANALYTIC}


@dataclass(frozen=True)
class CostModel:
    """Metrics of an architecture by name: `latency_ms` by the table, `latency_ms@NAME` by those of other devices, and
    the analytic ones."""

    latency: Latency
    devices: Mapping[str, Latency] = field(default_factory=dict)

    def __call__(self, arch: Architecture) -> dict[str, float]:
        return {name: latency.predict_ms(arch) for name, latency in self._latencies.items()} | analytic_metrics(arch)

    @cached_property
    def _latencies(self) -> dict[str, Latency]:
        return {LATENCY.name: self.latency} | {LATENCY.on(name).key: table for name, table in self.devices.items()}

    @cached_property
    def of_part(self) -> dict[str, Cost]:
        """Metric -> what one part adds to it; to a metric of `WORST` it adds nothing, but is a bound."""
        return {name: latency.part_ms for name, latency in self._latencies.items()} | dict(ANALYTIC)

    def least(self, space: SearchSpace, metric: str) -> Architecture:
        """The architecture of `space` with the least value of `metric`; `least_latency` says how exactly."""
        if metric in self._latencies:
            return least_latency(space, self._latencies[metric])
        return smallest_reachable(space, self.of_part[metric], max if metric in WORST else sum)[0]


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
    networks tried: exact unless there is a duality gap, where it is one of the two networks at the maximum.
    """

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
