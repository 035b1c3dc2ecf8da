"""How milliseconds are taken: bursts of runs, interleaved over many networks in rounds, against anchors.

The clock of a busy machine drifts by tens of per cent within seconds (a neighbour on the core, on the cache, on the
power budget). So no time is read alone: each burst is divided by what anchor networks took just before and after it,
and the median over rounds is kept. On one thread the CPU-time clock leaves out what others ran on the core.

There are two anchors, because there are two drifts: what computes on data in its own cache is slowed down by other
causes than what fetches its weights in every run. A network is divided by a mix of both that is like itself. With one
anchor, small networks with many weights drifted by 20 % against it between two passes, minutes apart.
"""

from __future__ import annotations

import hashlib
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

Run = Callable[[], object]  # one inference, finished when it returns; with OWN_CLOCK it returns its milliseconds
Mix = tuple[float, ...]  # how much of each anchor's time a time is divided by

BURST_S = 0.004  # of one network, between looks at the others
SAMPLE_S = 0.0002  # shorter runs are timed several at once: reading the CPU-time clock costs about 0.4 us
ANCHOR_EVERY_S = 0.04
ANCHOR_EVERY = 5  # runs, where each of them is a call of another program
WARMUP_S = 0.25  # at most, per network
SHARED_RATIO = 1.2  # wall / CPU time beyond which a wall-clock time includes somebody else's work


@dataclass(frozen=True)
class Clock:
    """`read()` gives seconds."""

    name: str
    read: Callable[[], float]


CPU_CLOCK = Clock("process CPU time", time.process_time)
WALL_CLOCK = Clock("wall clock", time.perf_counter)
OWN_CLOCK = Clock("that of the runtime", lambda: 0.0)  # never read: each run tells its time


@dataclass(frozen=True)
class Rounds:
    """One network's times in units of its anchors', a value per round, each taken seconds apart."""

    ratios: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)

    @property
    def spread(self) -> float:
        """Relative standard deviation of one round, estimated robustly (1.48 x median absolute deviation)."""
        return 1.4826 * statistics.median(abs(ratio / self.median - 1) for ratio in self.ratios)

    @property
    def uncertainty(self) -> float:
        """Relative standard error of the median, were rounds independent and normal."""
        return 1.2533 * self.spread / len(self.ratios) ** 0.5


@dataclass(frozen=True)
class Segment:
    """What was timed between two looks at the anchors: (number of the run, ratio) of each, and the second look."""

    ratios: tuple[tuple[int, float], ...]
    anchors_s: tuple[float, ...]


class Stopwatch:
    """Times networks against `anchors` on `clock`.

    >>> watch = Stopwatch([lambda: sum(range(9999))], clock=WALL_CLOCK)
    >>> [twice] = watch.interleave([lambda: sum(range(19999))], rounds=5)
    >>> watch.anchors_ms, twice.median  # doctest: +SKIP
    ((0.13,), 2.0)
    """

    def __init__(self, anchors: Sequence[Run], clock: Clock) -> None:
        self.clock = clock
        self.looks: list[tuple[float, ...]] = []  # seconds of each anchor
        self._anchors = [(anchor, self._warm_up(anchor)) for anchor in anchors]

    @property
    def anchors_ms(self) -> tuple[float, ...]:
        return tuple(1e3 * statistics.median(seconds) for seconds in zip(*self.looks, strict=True))

    def interleave(
        self, runs: Sequence[Run], rounds: int, mixes: Sequence[Mix] | None = None, seed: int = 0
    ) -> list[Rounds]:
        """Each of `runs` in each of `rounds`, in an order drawn from `seed`, divided by its mix of the anchors (the
        first anchor alone by default)."""
        ratios: list[list[float]] = [[] for _ in runs]
        for segment in self.segments(runs, [rounds] * len(runs), mixes, seed):
            for index, ratio in segment.ratios:
                ratios[index].append(ratio)
        return [Rounds(tuple(values)) for values in ratios]

    def segments(
        self, runs: Sequence[Run], rounds: Sequence[int], mixes: Sequence[Mix] | None = None, seed: int = 0
    ) -> Iterator[Segment]:
        """As `interleave`, each with a number of rounds of its own, handed out as they are taken."""
        rng = random.Random(seed)
        mixes = mixes or [(1.0,) + (0.0,) * (len(self._anchors) - 1)] * len(runs)
        counts = [self._warm_up(run) for run in runs]
        for done in range(max(rounds, default=0)):
            order = [index for index, wanted in enumerate(rounds) if wanted > done]
            rng.shuffle(order)
            before, pending = self._look(), []
            since = time.perf_counter()
            for position, index in enumerate(order, 1):
                pending.append((index, self._burst(runs[index], counts[index])))
                late = time.perf_counter() - since > ANCHOR_EVERY_S
                if self.clock is OWN_CLOCK:
                    late = len(pending) == ANCHOR_EVERY
                if late or position == len(order):
                    after = self._look()
                    yield Segment(
                        tuple((i, 2 * s / (_mixed(mixes[i], before) + _mixed(mixes[i], after))) for i, s in pending),
                        after,
                    )
                    before, pending, since = after, [], time.perf_counter()

    def _look(self) -> tuple[float, ...]:
        self.looks.append(tuple(self._burst(anchor, counts) for anchor, counts in self._anchors))
        return self.looks[-1]

    def _warm_up(self, run: Run) -> tuple[int, int]:
        """Runs until times are stable (no new minimum in three runs). Returns samples per burst and runs per sample."""
        if self.clock is OWN_CLOCK:
            return 1, 1
        end, best, stale = time.perf_counter() + WARMUP_S, float("inf"), 0
        while stale < 3 and time.perf_counter() < end:
            start = self.clock.read()
            run()
            seconds = self.clock.read() - start
            best, stale = (seconds, 0) if seconds < best else (best, stale + 1)
        per_sample = max(1, round(SAMPLE_S / max(best, 1e-7)))
        return max(3, min(25, round(BURST_S / max(best * per_sample, 1e-7)))), per_sample

    def _burst(self, run: Run, counts: tuple[int, int]) -> float:
        """Seconds of one run: the median of the burst's samples, after one run that refills the caches."""
        if self.clock is OWN_CLOCK:
            return float(run()) / 1e3  # type: ignore[arg-type]
        samples, per_sample = counts
        run()
        times = []
        for _ in range(samples):
            start = self.clock.read()
            for _ in range(per_sample):
                run()
            times.append((self.clock.read() - start) / per_sample)
        return statistics.median(times)


def _mixed(mix: Mix, seconds: Sequence[float]) -> float:
    return sum(share * s for share, s in zip(mix, seconds, strict=True))


def contention(threads: int, seconds: float = 0.03) -> float:
    """Wall / CPU time of `threads` busy threads: 1 where each has a core of its own, 2 where it gets half of one."""
    block = bytes(1 << 16)  # hashing it releases the interpreter's lock

    def spin(_: int) -> float:
        wall, cpu = time.perf_counter(), time.thread_time()
        while time.perf_counter() - wall < seconds:
            hashlib.sha256(block)
        return (time.perf_counter() - wall) / max(time.thread_time() - cpu, 1e-9)

    with ThreadPoolExecutor(threads) as pool:
        return max(pool.map(spin, range(threads)))
