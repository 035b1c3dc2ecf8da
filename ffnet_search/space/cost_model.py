"""Costs of an architecture without running it: latency by a table, and metrics that need no device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from ffnet_search.metrics import LATENCY, MACS, PARAMS, PEAK_MEMORY, WEIGHTS
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.parts import Part

Cost = Callable[[Part], float]
ANALYTIC: Mapping[str, Cost] = {  # metric that needs no device -> what one part adds to it
    PARAMS.name: lambda part: part.params / 1e6,
    MACS.name: lambda part: part.macs / 1e6,
    WEIGHTS.name: lambda part: 4 * part.params / 1e6,
    PEAK_MEMORY.name: lambda part: 4 * part.memory / 1e6,
}
WORST = {PEAK_MEMORY.name}  # metrics that are the largest over the parts, and not their sum


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
        return {name: latency.predict_ms(arch) for name, latency in self.latencies.items()} | analytic_metrics(arch)

    @cached_property
    def latencies(self) -> dict[str, Latency]:
        """Metric -> the table that predicts it."""
        return {LATENCY.name: self.latency} | {LATENCY.on(name).key: table for name, table in self.devices.items()}

    @cached_property
    def of_part(self) -> dict[str, Cost]:
        """Metric -> what one part adds to it; to a metric of `WORST` it adds nothing, but is a bound."""
        return {name: latency.part_ms for name, latency in self.latencies.items()} | dict(ANALYTIC)
