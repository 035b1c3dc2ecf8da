"""The jobs of a bench: a part, a chain of copies of it, or a whole network, in groups that are timed together."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from torch import nn

from ffnet_search.config.schema import LatencySection, Precision
from ffnet_search.latency.anchors import mix
from ffnet_search.latency.backends.model_file import Model
from ffnet_search.latency.timing import Reading, mixed
from ffnet_search.models.deployed import deployed, deployed_part
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.input import Input
from ffnet_search.space.parts import Part
from ffnet_search.space.sides import height_and_width

GROUP = 10  # jobs that are compiled and interleaved at a time
GROUP_WEIGHTS_M = 64.0  # the most million weights of a group, so that memory stays small
NETWORK_SHARE = 3  # a network takes this part of the rounds in each pass: the noise of one pass is shared


@dataclass(frozen=True)
class Job:
    """One thing to measure. `shape` (C, H, W) is that of one input, `network` the architecture of a whole network."""

    id: str
    build: Callable[[], nn.Module] = field(compare=False)
    shape: tuple[int, ...]
    macs_m: float  # million multiply-accumulates for one input
    weights_m: float  # million weights
    network: Architecture | None = None

    def rounds(self, section: LatencySection) -> int:
        """The number of rounds that are planned."""
        return section.rounds if self.network is None else -(-section.rounds // NETWORK_SHARE)

    def unit_ms(self, input: Input, anchors_ms: Reading) -> float:
        """Milliseconds of the job's mix of anchors: the unit that a ratio is multiplied by."""
        return mixed(mix(self.macs_m, self.weights_m, input), anchors_ms)

    def model(self, batch: int, folder: Path | None = None, precision: Precision = "float32") -> Model:
        """The model for a backend. Files of networks are kept in `folder`."""
        cache = folder / self.network.key if folder and self.network else None
        return Model(self.build, (batch, *self.shape), cache, precision)


def part_job(part: Part, copies: int = 1) -> Job:
    """A part, or a chain of copies of it."""
    return Job(
        id=part.key if copies == 1 else f"{copies} x {part.key}",
        build=partial(_chain, part, copies),
        shape=(part.in_width, *height_and_width(part.resolution)),
        macs_m=copies * part.costs.macs / 1e6,
        weights_m=copies * part.costs.params / 1e6,
    )


def _chain(part: Part, copies: int) -> nn.Module:
    return nn.Sequential(*(deployed_part(part) for _ in range(copies))).train(False)


def network_job(arch: Architecture, number: int, net: nn.Module | None = None) -> Job:
    """A network in the pass of a number: a copy of `net`, its deployed form, or one with random weights."""
    return Job(
        id=f"{arch.key} pass {number}",
        build=partial(deployed, arch) if net is None else partial(copy.deepcopy, net),
        shape=arch.input.shape,
        macs_m=arch.macs_m,
        weights_m=arch.params_m,
        network=arch,
    )


def groups(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    """Split jobs, in order, into those that are compiled and interleaved together."""
    group: list[Job] = []
    for job in jobs:
        weights_m = sum(member.weights_m for member in group) + job.weights_m
        if group and (len(group) == GROUP or weights_m > GROUP_WEIGHTS_M):
            yield group
            group = []
        group.append(job)
    if group:
        yield group
