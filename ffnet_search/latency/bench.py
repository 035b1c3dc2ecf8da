"""The bench times jobs on a backend, in units of a mix of two anchor networks.

There are two anchors because speed drifts in two ways: computing on cached data slows down for other reasons than
fetching weights from memory in every run. With one anchor, small networks with many weights drifted by 20 % against it
between two passes, minutes apart."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from ffnet_search.config.schema import LatencySection, Precision
from ffnet_search.latency.backends.base import make_backend
from ffnet_search.latency.backends.model_file import Model
from ffnet_search.latency.timing import RUNTIME_CLOCK, Mix, Run, Stopwatch, Timed, contention, mixed
from ffnet_search.models.deployed import deployed, deployed_part
from ffnet_search.provenance import installed_versions
from ffnet_search.space.architecture import Architecture, Stem
from ffnet_search.space.block import Block
from ffnet_search.space.input import Input
from ffnet_search.space.parts import Part
from ffnet_search.space.registry import DEFAULT_TASK
from ffnet_search.space.sides import height_and_width, pixels, square

GROUP = 10  # jobs that are compiled and interleaved at a time
GROUP_WEIGHTS_M = 64.0  # the most million weights of a group, so that memory stays small
NETWORK_SHARE = 3  # a network takes this part of the rounds in each pass: the noise of one pass is shared
RESIDENT_M = 0.25  # million weights that stay in a core's own cache of 1 MB between runs


@lru_cache
def anchors(input: Input) -> tuple[Architecture, Architecture]:
    """A light network, whose weights stay in the core's own cache, and a heavy one, which mostly fetches weights.

    Both are classifiers of square images, for every task and image shape."""
    if input.task != DEFAULT_TASK or isinstance(input.resolution, tuple):
        input = Input(input.channels, round(math.sqrt(pixels(input.resolution))), max(2, input.outputs))
    shrink = square(input.resolution) > 64

    def network(stride: int, *stages: tuple[int, int], kernel: int, expansion: int) -> Architecture:
        depths, widths = zip(*stages, strict=True)
        block = Block("ffn_attention", kernel, expansion=expansion)
        return Architecture.uniform(depths, widths, (block,) * len(stages), Stem(16, stride), input)

    light = network(4 if shrink else 1, (1, 32), (1, 48), (1, 64), kernel=5, expansion=3)
    heavy = network(4, (1, 64), (1, 128), (2, 256), (2, 384), kernel=3, expansion=4)
    return light, heavy


def mix(macs_m: float, weights_m: float, input: Input) -> Mix:
    """Shares (light, heavy) of the anchors that together resemble a network with these millions of MACs and weights.

    The heavy share fetches as many weights, and both shares together compute as many MACs."""
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


@dataclass(frozen=True)
class Identity:
    """The conditions of a measurement, for the record. `versions` are those of the backend's packages."""

    device: str
    settings: dict[str, Any]
    versions: dict[str, str]
    clock: str


class Bench(Protocol):
    """A place where jobs are timed: `LocalBench`, or `ray_bench.RemoteBench` on another machine."""

    @property
    def identity(self) -> Identity: ...

    def time(self, jobs: Sequence[Job], rounds: Sequence[int], seed: int) -> Iterator[Timed]:
        """Time each job in a number of rounds, by its index. Raises SweepError if the backend fails."""

    def contention(self) -> float:
        """Wall / CPU time of busy threads now: 1 where the cores are free, or the clock is the runtime's own."""


MakeBench = Callable[[LatencySection, Input, Path | None], Bench]


class LocalBench:
    """A bench in this process. `folder` keeps the networks' files while they are needed."""

    def __init__(self, section: LatencySection, input: Input, folder: Path | None = None) -> None:
        self._section, self._input, self._folder = section, input, folder
        self._backend = make_backend(section)
        self._clock = self._backend.clock(section.threads)

    @cached_property
    def identity(self) -> Identity:
        versions = installed_versions(*self._backend.packages)
        return Identity(self._backend.device_name(), self._backend.settings(), versions, self._clock.name)

    @cached_property
    def _stopwatch(self) -> Stopwatch:
        return Stopwatch([self._load(network_job(arch, 0), None) for arch in anchors(self._input)], self._clock)

    def _load(self, job: Job, folder: Path | None) -> Run:
        section = self._section
        return self._backend.load(job.model(section.batch_size, folder, section.precision), section.threads)

    def time(self, jobs: Sequence[Job], rounds: Sequence[int], seed: int) -> Iterator[Timed]:
        runs = [self._load(job, self._folder) for job in jobs]
        mixes = [mix(job.macs_m, job.weights_m, self._input) for job in jobs]
        return self._stopwatch.time(runs, rounds, mixes, seed)

    def contention(self) -> float:
        return 1.0 if self._clock is RUNTIME_CLOCK else contention(self._section.threads)
