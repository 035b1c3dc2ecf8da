"""A bench: a backend and the anchors on it. Jobs go in, times in units of the anchors come out as they are taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from ffnet_search.config.schema import LatencySection
from ffnet_search.latency.backends.base import BACKENDS, make_backend
from ffnet_search.latency.backends.model_file import Model
from ffnet_search.latency.plan import Job, anchors, mix
from ffnet_search.latency.timing import CPU_CLOCK, OWN_CLOCK, WALL_CLOCK, Clock, Stopwatch, contention
from ffnet_search.models.deployed import deployed
from ffnet_search.space.architecture import Input


@dataclass(frozen=True)
class Identity:
    """What times depend on beside the network, for the record. `versions` are those of the backend's packages."""

    device: str
    settings: dict[str, Any]
    versions: dict[str, str]
    clock: str


@dataclass(frozen=True)
class Timed:
    """What was timed between two looks at the anchors: (id of the job, its time in units of its mix), and the look."""

    ratios: tuple[tuple[str, float], ...]
    anchors_s: tuple[float, ...]


class Bench(Protocol):
    """Where jobs are timed: `LocalBench`, or one on another machine."""

    @property
    def identity(self) -> Identity: ...
    def time(self, jobs: Sequence[Job], rounds: Sequence[int], seed: int) -> Iterator[Timed]:
        """Each job in so many rounds. Raises SweepError where the backend cannot."""
        ...

    def contention(self) -> float:
        """Wall / CPU time of busy threads now: 1 where the cores are free, or not of interest."""
        ...


MakeBench = Callable[[LatencySection, Input, Path | None], Bench]


class LocalBench:
    """In this process. `kept`: the folder for the networks' files while they are needed."""

    def __init__(self, section: LatencySection, input: Input, kept: Path | None = None) -> None:
        self._section, self._input, self._kept = section, input, kept
        self._backend = make_backend(section)

    @cached_property
    def identity(self) -> Identity:
        packages = BACKENDS[self._section.backend].packages
        versions = {package: version(package) for package in packages if _is_installed(package)}
        return Identity(self._backend.device, self._backend.settings(), versions, self._clock.name)

    @property
    def _clock(self) -> Clock:
        if self._backend.own_clock:
            return OWN_CLOCK
        return CPU_CLOCK if self._backend.in_process and self._section.threads == 1 else WALL_CLOCK

    @cached_property
    def _stopwatch(self) -> Stopwatch:
        batch, image = self._section.batch_size, self._input
        shape = (batch, image.channels, image.resolution, image.resolution)
        models = [Model(lambda arch=arch: deployed(arch), shape) for arch in anchors(image)]  # type: ignore[misc]
        return Stopwatch([self._backend.load(model, self._section.threads) for model in models], self._clock)

    def time(self, jobs: Sequence[Job], rounds: Sequence[int], seed: int) -> Iterator[Timed]:
        section = self._section
        stopwatch = self._stopwatch
        runs = [self._backend.load(job.model(section.batch_size, self._kept), section.threads) for job in jobs]
        mixes = [mix(job.macs_m, job.weights_m, self._input) for job in jobs]
        for segment in stopwatch.segments(runs, rounds, mixes, seed):
            yield Timed(tuple((jobs[index].id, ratio) for index, ratio in segment.ratios), segment.anchors_s)

    def contention(self) -> float:
        return 1.0 if self._clock is OWN_CLOCK else contention(self._section.threads)


def _is_installed(package: str) -> bool:
    try:
        return bool(version(package))
    except ModuleNotFoundError:  # a build under another name
        return False
