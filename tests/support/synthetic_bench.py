"""A latency bench without a clock: times are a formula of MACs and weights, with noise drawn from the job's name."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ffnet_search.config.schema import LatencySection
from ffnet_search.latency.bench import Identity
from ffnet_search.latency.jobs import Job
from ffnet_search.latency.timing import Timed
from ffnet_search.space.input import Input

ANCHORS_S = (0.0004, 0.0016)
CALL_MS = 0.004  # of every run, however little it computes
CACHE_M = 0.4  # million weights that are not fetched again


class SyntheticBench:
    """A `Bench` by the formula of `milliseconds`. Each round has 2 % of noise, the same in every process."""

    clock = "no clock"

    def __init__(self, section: LatencySection, input: Input, kept: Path | None = None) -> None:
        self.input = input
        self.taken: Counter[str] = Counter()  # rounds by the id of the job

    @property
    def identity(self) -> Identity:
        return Identity("a formula", {"kind": "synthetic"}, {"formula": "1"}, self.clock)

    def contention(self) -> float:
        return 1.0

    def time(self, jobs: Sequence[Job], rounds: Sequence[int], seed: int) -> Iterator[Timed]:
        for index, (job, count) in enumerate(zip(jobs, rounds, strict=True)):
            anchors_ms = [1e3 * seconds for seconds in ANCHORS_S]
            unit_ms = job.unit_ms(self.input, anchors_ms)
            for _ in range(count):
                self.taken[job.id] += 1
                noise = random.Random(f"{job.id} {self.taken[job.id]}").gauss(1.0, 0.02)
                yield Timed(((index, noise * milliseconds(job) / unit_ms),), ANCHORS_S)


def milliseconds(job: Job) -> float:
    """Milliseconds of a job: compute that is not linear in MACs, weights, and fetching what the cache does not hold."""
    compute = 0.03 * job.macs_m + 0.002 * job.macs_m**0.7
    return CALL_MS + compute + 0.05 * job.weights_m + 0.4 * max(0.0, job.weights_m - CACHE_M)
