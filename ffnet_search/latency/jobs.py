"""What is timed: a part or a chain of its copies, a network in one of the passes, or a user-supplied module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from torch import nn

from ffnet_search.config.schema import LatencySection
from ffnet_search.latency.backends.model_file import Model
from ffnet_search.models.deployed import deployed, deployed_part
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.parts import Part

GROUP = 10  # jobs that are compiled and interleaved at a time
GROUP_WEIGHTS_M = 64.0  # the most million weights of a group, so that memory stays small


class Job(Protocol):
    """One thing to measure."""

    @property
    def id(self) -> str:
        """The name in journals."""
        ...

    @property
    def macs_m(self) -> float:
        """Million multiply-accumulates for one image."""
        ...

    @property
    def weights_m(self) -> float:
        """Million weights."""
        ...

    def rounds(self, section: LatencySection) -> int:
        """Rounds that are planned."""
        ...

    def model(self, batch: int, folder: Path | None = None) -> Model:
        """The model for a backend. Files of networks are kept in `folder`."""
        ...


@dataclass(frozen=True)
class PartJob:
    """A part, or a chain of copies of it. The weights are random."""

    part: Part
    copies: int = 1

    @property
    def id(self) -> str:
        return self.part.key if self.copies == 1 else f"{self.copies} x {self.part.key}"

    @property
    def macs_m(self) -> float:
        return self.copies * self.part.macs / 1e6

    @property
    def weights_m(self) -> float:
        return self.copies * self.part.params / 1e6

    def rounds(self, section: LatencySection) -> int:
        return section.rounds

    def model(self, batch: int, folder: Path | None = None) -> Model:
        return Model(self._build, (batch, self.part.in_width, self.part.resolution, self.part.resolution))

    def _build(self) -> nn.Module:
        return nn.Sequential(*(deployed_part(self.part) for _ in range(self.copies))).train(False)


@dataclass(frozen=True)
class NetworkJob:
    """A whole network. `net`: its deployed form if it exists; otherwise it is built with random weights."""

    id: str
    arch: Architecture
    net: nn.Module | None = field(default=None, compare=False)

    @classmethod
    def of_pass(cls, arch: Architecture, number: int) -> NetworkJob:
        """A network in one of the passes of a profile."""
        return cls(f"{arch.key} pass {number}", arch)

    @property
    def macs_m(self) -> float:
        return self.arch.macs_m

    @property
    def weights_m(self) -> float:
        return self.arch.params_m

    def rounds(self, section: LatencySection) -> int:
        """A third of the rounds in each pass: the noise of one pass is shared, so more of them hardly help."""
        return -(-section.rounds // 3)

    def model(self, batch: int, folder: Path | None = None) -> Model:
        image = self.arch.input
        cache = folder / self.arch.key if folder and self.net is None else None
        return Model(self._build, (batch, image.channels, image.resolution, image.resolution), cache)

    def _build(self) -> nn.Module:
        return deployed(self.arch) if self.net is None else self.net


@dataclass(frozen=True)
class ModuleJob:
    """A user-supplied module with the shape of its input, batch included."""

    id: str
    net: nn.Module = field(compare=False)
    shape: tuple[int, ...]
    macs_m: float
    weights_m: float

    def rounds(self, section: LatencySection) -> int:
        return section.rounds

    def model(self, batch: int, folder: Path | None = None) -> Model:
        return Model(lambda: self.net, self.shape)


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
