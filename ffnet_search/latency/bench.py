"""A bench times jobs on a backend, in units of a mix of two anchor networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from ffnet_search.config.schema import LatencySection
from ffnet_search.latency.anchors import anchors, mix
from ffnet_search.latency.backends.base import make_backend
from ffnet_search.latency.jobs import Job, network_job
from ffnet_search.latency.threads import refuse_many_threads
from ffnet_search.latency.timing import RUNTIME_CLOCK, Run, Stopwatch, Timed, contention
from ffnet_search.provenance import installed_versions
from ffnet_search.space.input import Input


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
        refuse_many_threads(section, self._backend)
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
