"""The things that are timed: a part or a chain of its copies, a network in one of the passes, a given module."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from torch import nn

from ffnet_search.config.schema import LatencySection
from ffnet_search.latency.backends.model_file import Model
from ffnet_search.models.deployed import deployed, deployed_part
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.parts import Part

GROUP = 10  # jobs that are compiled and interleaved at a time
GROUP_WEIGHTS_M = 64.0  # the most million weights of a group, so that memory stays small
NETWORK_SHARE = 3  # a network takes this part of the rounds in each pass: the noise of one pass is shared


@dataclass(frozen=True)
class Job:
    """One thing to measure: `net`, or if that is None what `build` makes, with random weights.

    `shape` (C, H, W) is that of one input. `network` is the architecture of a whole network.
    """

    id: str
    build: Callable[[], nn.Module] = field(compare=False)
    shape: tuple[int, ...]
    macs_m: float  # million multiply-accumulates for one input
    weights_m: float  # million weights
    network: Architecture | None = None
    net: nn.Module | None = field(default=None, compare=False)

    def rounds(self, section: LatencySection) -> int:
        """The number of rounds that are planned."""
        return section.rounds if self.network is None else -(-section.rounds // NETWORK_SHARE)

    def model(self, batch: int, folder: Path | None = None) -> Model:
        """The model for a backend. Files of networks with random weights are kept in `folder`."""
        cache = None
        if folder and self.network and self.net is None:
            cache = folder / self.network.key
        return Model(self.module, (batch, *self.shape), cache)

    def module(self) -> nn.Module:
        """The module to measure."""
        return self.build() if self.net is None else self.net


def part_job(part: Part, copies: int = 1) -> Job:
    """A part, or a chain of copies of it."""
    return Job(
        id=part.key if copies == 1 else f"{copies} x {part.key}",
        build=partial(_chain, part, copies),
        shape=(part.in_width, part.resolution, part.resolution),
        macs_m=copies * part.macs / 1e6,
        weights_m=copies * part.params / 1e6,
    )


def _chain(part: Part, copies: int) -> nn.Module:
    return nn.Sequential(*(deployed_part(part) for _ in range(copies))).train(False)


def network_job(arch: Architecture, number: int, net: nn.Module | None = None) -> Job:
    """A network in the pass of a number. `net`: its deployed form, if it exists."""
    return Job(
        id=f"{arch.key} pass {number}",
        build=partial(deployed, arch),
        shape=(arch.input.channels, arch.input.resolution, arch.input.resolution),
        macs_m=arch.macs_m,
        weights_m=arch.params_m,
        network=arch,
        net=net,
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
