"""The timing protocol: bursts of runs, interleaved over many networks in rounds, and divided by anchors.

The clock of a busy machine drifts by tens of per cent within seconds (a neighbour on the core, on the cache, on the
power budget). So no time is used alone: each burst is divided by the time of anchor networks just before and after it,
and the median over rounds is kept. On one thread the CPU-time clock excludes other programs on the core.
`latency.anchors` says why there are two anchors."""

from __future__ import annotations

import hashlib
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

Run = Callable[[], object]  # one inference, finished when it returns; with RUNTIME_CLOCK it returns its milliseconds
Mix = tuple[float, ...]  # the share of each anchor in the time that a time is divided by
Reading = tuple[float, ...]  # the time of each anchor

BURST_S = 0.004  # of one network, before the next one
SAMPLE_S = 0.0002  # shorter runs are timed several at once: reading the CPU-time clock costs about 0.4 us
ANCHOR_EVERY_S = 0.04
ANCHOR_EVERY = 5  # runs, where each of them is a call of another program
WARMUP_S = 0.25  # at most, per network
SHARED_RATIO = 1.2  # wall / CPU time beyond which a wall-clock time includes the work of other programs


@dataclass(frozen=True)
class Clock:
    name: str
    read: Callable[[], float]  # seconds


CPU_CLOCK = Clock("process CPU time", time.process_time)
THREAD_CLOCK = Clock("thread CPU time", time.thread_time)
WALL_CLOCK = Clock("wall clock", time.perf_counter)
RUNTIME_CLOCK = Clock("that of the runtime", lambda: 0.0)  # never read: each run returns its milliseconds


@dataclass(frozen=True)
class Rounds:
    """The times of one network in units of its mix of anchors: a value per round, seconds apart."""

    ratios: tuple[float, ...]

    @classmethod
    def joined(cls, passes: Iterable[Rounds]) -> Rounds:
        return cls(tuple(ratio for rounds in passes for ratio in rounds.ratios))

    @classmethod
    def of_medians(cls, passes: Iterable[Rounds]) -> Rounds:
        """A round per pass, its median: rounds of one pass share their noise."""
        return cls(tuple(rounds.median for rounds in passes))

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)

    @property
    def spread(self) -> float:
        """Relative standard deviation of one round, estimated robustly (1.48 x median absolute deviation)."""
        return 1.4826 * statistics.median(abs(ratio / self.median - 1) for ratio in self.ratios)

    @property
    def uncertainty(self) -> float:
        """Relative standard error of the median, for independent and normal rounds."""
        return 1.2533 * self.spread / len(self.ratios) ** 0.5


@dataclass(frozen=True)
class Timed:
    """The times between two readings of the anchors: (index of the run, ratio to its mix) of each, and the second."""

    ratios: tuple[tuple[int, float], ...]
    anchors_s: Reading


class Stopwatch:
    """Times runs against `anchors` on `clock`."""

    def __init__(self, anchors: Sequence[Run], clock: Clock) -> None:
        self._clock = clock
        self._anchors = [(anchor, self._warm_up(anchor)) for anchor in anchors]

    def time(self, runs: Sequence[Run], rounds: Sequence[int], mixes: Sequence[Mix], seed: int = 0) -> Iterator[Timed]:
        """Time each run in a number of rounds, once per round, in units of its mix of the anchors.

        The order in a round is drawn from `seed`. Times are yielded as they are measured."""
        rng = random.Random(seed)
        counts = [self._warm_up(run) for run in runs]
        for done in range(max(rounds, default=0)):
            order = [index for index, wanted in enumerate(rounds) if wanted > done]
            rng.shuffle(order)
            before, pending = self._read_anchors(), []
            since = time.perf_counter()
            for position, index in enumerate(order, 1):
                pending.append((index, self._burst(runs[index], counts[index])))
                is_due = time.perf_counter() - since > ANCHOR_EVERY_S
                if self._clock is RUNTIME_CLOCK:
                    is_due = len(pending) == ANCHOR_EVERY
                if is_due or position == len(order):
                    after = self._read_anchors()
                    ratios = [(i, 2 * s / (mixed(mixes[i], before) + mixed(mixes[i], after))) for i, s in pending]
                    yield Timed(tuple(ratios), after)
                    before, pending, since = after, [], time.perf_counter()

    def _read_anchors(self) -> Reading:
        return tuple(self._burst(anchor, counts) for anchor, counts in self._anchors)

    def _warm_up(self, run: Run) -> tuple[int, int]:
        """Run until times are stable (no new minimum in three runs). Return samples per burst, runs per sample.

        The first run is not timed: libraries are loaded in it and kernels compiled, which may take longer than
        `WARMUP_S`."""
        if self._clock is RUNTIME_CLOCK:
            return 1, 1
        run()
        end, best, stale = time.perf_counter() + WARMUP_S, float("inf"), 0
        while stale < 3 and time.perf_counter() < end:
            start = self._clock.read()
            run()
            seconds = self._clock.read() - start
            best, stale = (seconds, 0) if seconds < best else (best, stale + 1)
        per_sample = max(1, round(SAMPLE_S / max(best, 1e-7)))
        return max(3, min(25, round(BURST_S / max(best * per_sample, 1e-7)))), per_sample

    def _burst(self, run: Run, counts: tuple[int, int]) -> float:
        """Seconds of one run: the median of the burst's samples, after one run that refills the caches."""
        if self._clock is RUNTIME_CLOCK:
            return float(run()) / 1e3  # type: ignore[arg-type]
        samples, per_sample = counts
        run()
        times = []
        for _ in range(samples):
            start = self._clock.read()
            for _ in range(per_sample):
                run()
            times.append((self._clock.read() - start) / per_sample)
        return statistics.median(times)


def mixed(mix: Mix, times: Reading) -> float:
    """The time of a mix of anchors, in the unit of `times`."""
    return sum(share * each for share, each in zip(mix, times, strict=True))


def gather(timed: Iterable[Timed], runs: int) -> tuple[list[Rounds], Reading]:
    """Return the rounds of each run by its index, and the anchors' milliseconds meanwhile."""
    ratios: list[list[float]] = [[] for _ in range(runs)]
    readings = []
    for one in timed:
        readings.append(one.anchors_s)
        for index, ratio in one.ratios:
            ratios[index].append(ratio)
    return [Rounds(tuple(values)) for values in ratios], tuple(1e3 * seconds for seconds in middle(readings))


def middle(readings: Sequence[Reading]) -> Reading:
    """The median of each anchor: the upper one of an even number, which is a value that was measured."""
    return tuple(statistics.median_high(values) for values in zip(*readings, strict=True))


def compare(run: Run, baseline: Run, rounds: int = 15, clock: Clock = CPU_CLOCK) -> tuple[float, float]:
    """Milliseconds of `run` and of `baseline`, timed in turns, so that a busy machine slows both."""
    [times], [baseline_ms] = gather(Stopwatch([baseline], clock).time([run], [rounds], [(1.0,)]), 1)
    return times.median * baseline_ms, baseline_ms


def contention(threads: int, seconds: float = 0.03, wall: Clock = WALL_CLOCK, cpu: Clock = THREAD_CLOCK) -> float:
    """Wall / CPU time of `threads` busy threads: 1 where each has a core to itself, 2 where it gets half of one."""
    block = bytes(1 << 16)  # hashing it releases the interpreter's lock

    def spin(_: int) -> float:
        wall_start, cpu_start = wall.read(), cpu.read()
        while wall.read() - wall_start < seconds:
            hashlib.sha256(block)
        return (wall.read() - wall_start) / max(cpu.read() - cpu_start, 1e-9)

    with ThreadPoolExecutor(threads) as pool:
        return max(pool.map(spin, range(threads)))
