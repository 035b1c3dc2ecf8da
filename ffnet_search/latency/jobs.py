"""The things that are timed: a part or a chain of its copies, a network in one of the passes, a given module.

Their times are divided by a mix of two anchor networks. There are two because there are two drifts: computing on data
in the core's own cache slows down by other causes than fetching weights in every run. With one anchor, small networks
with many weights drifted by 20 % against it between two passes, minutes apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

from torch import nn

from ffnet_search.config.schema import LatencySection
from ffnet_search.latency.backends.model_file import Model
from ffnet_search.latency.timing import Mix, mixed
from ffnet_search.models.deployed import deployed, deployed_part
from ffnet_search.space.architecture import Architecture, Input, Stem
from ffnet_search.space.block import Block
from ffnet_search.space.parts import Part

GROUP = 10  # jobs that are compiled and interleaved at a time
GROUP_WEIGHTS_M = 64.0  # the most million weights of a group, so that memory stays small
NETWORK_SHARE = 3  # a network takes this part of the rounds in each pass: the noise of one pass is shared
RESIDENT_M = 0.25  # million weights that stay in a core's own cache of 1 MB between runs


@lru_cache
def anchors(input: Input) -> tuple[Architecture, Architecture]:
    """A light network, whose weights stay in the core's own cache, and a heavy one, which mostly fetches weights."""
    shrink = input.resolution > 64

    def network(stride: int, *stages: tuple[int, int], kernel: int, expansion: int) -> Architecture:
        depths, widths = zip(*stages, strict=True)
        block = Block("ffn_attention", kernel, expansion=expansion)
        return Architecture.uniform(depths, widths, (block,) * len(stages), Stem(16, stride), input)

    light = network(4 if shrink else 1, (1, 32), (1, 48), (1, 64), kernel=5, expansion=3)
    heavy = network(4, (1, 64), (1, 128), (2, 256), (2, 384), kernel=3, expansion=4)
    return light, heavy


def mix(macs_m: float, weights_m: float, input: Input) -> Mix:
    """Shares (light, heavy) of the anchors that together resemble a network with these millions of MACs and weights.

    The heavy share fetches as many weights, and both shares together compute as many MACs.
    """
    light, heavy = anchors(input)
    heavy_share = max(0.0, weights_m - RESIDENT_M) / (heavy.params_m - RESIDENT_M)
    light_share = max(0.0, macs_m - heavy_share * heavy.macs_m) / light.macs_m
    return light_share, heavy_share


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

    def unit_ms(self, input: Input, anchors_ms: Sequence[float]) -> float:
        """Milliseconds of the job's mix of anchors: the unit that a ratio is multiplied by."""
        return mixed(mix(self.macs_m, self.weights_m, input), anchors_ms)

    def model(self, batch: int, folder: Path | None = None) -> Model:
        """The model for a backend. Files of networks are kept in `folder`."""
        cache = folder / self.network.key if folder and self.network else None
        return Model(self.build, (batch, *self.shape), cache)


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
    """A network in the pass of a number: `net`, its deployed form, or one with random weights."""
    return Job(
        id=f"{arch.key} pass {number}",
        build=partial(deployed, arch) if net is None else lambda: net,
        shape=(arch.input.channels, arch.input.resolution, arch.input.resolution),
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
