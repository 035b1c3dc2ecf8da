"""How milliseconds are taken: bursts of runs, interleaved over many networks in rounds, against an anchor.

The clock of a busy machine drifts by tens of per cent within seconds (a neighbour on the core, on the cache, on the
power budget). So no time is read alone: each burst is divided by what the anchor network took just before and after it,
and the median over rounds is kept. On one thread the CPU-time clock leaves out what others ran on the core.
"""

from __future__ import annotations

import hashlib
import random
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

Run = Callable[[], object]  # one inference, finished when it returns

BURST_S = 0.008  # of one network, between looks at the others
SAMPLE_S = 0.0002  # shorter runs are timed several at once: reading the CPU-time clock costs about 0.4 us
ANCHOR_EVERY_S = 0.025
WARMUP_S = 0.25  # at most, per network
SHARED_RATIO = 1.2  # wall / CPU time beyond which a wall-clock time includes somebody else's work


@dataclass(frozen=True)
class Clock:
    """`read()` gives seconds."""

    name: str
    read: Callable[[], float]


CPU_CLOCK = Clock("process CPU time", time.process_time)
WALL_CLOCK = Clock("wall clock", time.perf_counter)


@dataclass(frozen=True)
class Rounds:
    """One network's times in units of the anchor's, a value per round, each taken seconds apart."""

    ratios: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)

    @property
    def spread(self) -> float:
        """Relative standard deviation of one round, estimated robustly (1.48 x median absolute deviation)."""
        return 1.4826 * statistics.median(abs(ratio / self.median - 1) for ratio in self.ratios)


class Stopwatch:
    """Times networks against `anchor` on `clock`.

    >>> watch = Stopwatch(anchor=lambda: sum(range(9999)), clock=WALL_CLOCK)
    >>> [twice] = watch.interleave([lambda: sum(range(19999))], rounds=5)
    >>> watch.anchor_ms, twice.median  # doctest: +SKIP
    (0.13, 2.0)
    """

    def __init__(self, anchor: Run, clock: Clock) -> None:
        self.clock = clock
        self.anchor_s: list[float] = []  # every look at the anchor
        self._anchor = anchor
        self._anchor_runs = self._warm_up(anchor)

    @property
    def anchor_ms(self) -> float:
        return 1e3 * statistics.median(self.anchor_s)

    def interleave(self, runs: Sequence[Run], rounds: int, seed: int = 0) -> list[Rounds]:
        """Each of `runs` in each of `rounds`, in an order drawn from `seed`."""
        order, rng = list(range(len(runs))), random.Random(seed)
        counts = [self._warm_up(run) for run in runs]
        ratios: list[list[float]] = [[] for _ in runs]
        for _ in range(rounds):
            rng.shuffle(order)
            before, pending = self._look(), []
            since = time.perf_counter()
            for position, index in enumerate(order, 1):
                pending.append((index, self._burst(runs[index], counts[index])))
                if time.perf_counter() - since > ANCHOR_EVERY_S or position == len(order):
                    after = self._look()
                    for waiting, seconds in pending:
                        ratios[waiting].append(2 * seconds / (before + after))
                    before, pending, since = after, [], time.perf_counter()
        return [Rounds(tuple(values)) for values in ratios]

    def _look(self) -> float:
        self.anchor_s.append(self._burst(self._anchor, self._anchor_runs))
        return self.anchor_s[-1]

    def _warm_up(self, run: Run) -> tuple[int, int]:
        """Runs until times are stable (no new minimum in three runs). Returns samples per burst and runs per sample."""
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
        samples, per_sample = counts
        run()
        times = []
        for _ in range(samples):
            start = self.clock.read()
            for _ in range(per_sample):
                run()
            times.append((self.clock.read() - start) / per_sample)
        return statistics.median(times)


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
