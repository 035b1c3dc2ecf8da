"""Milliseconds of given networks, measured together in passes that are seconds apart, until the passes agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from ffnet_search.config.schema import LatencySection
from ffnet_search.errors import SweepError
from ffnet_search.latency.bench import Bench, LocalBench, MakeBench
from ffnet_search.latency.plan import PASSES, Job, groups, mix
from ffnet_search.latency.table import LatencyTable
from ffnet_search.latency.timing import SHARED_RATIO, WALL_CLOCK, Mix, Rounds
from ffnet_search.models.deployed import Deployed

UNCERTAIN = 0.02  # relative standard error of a median beyond which it is measured again
MOST_PASSES = 3 * PASSES


@dataclass(frozen=True)
class Measurement:
    """One network alone. `spread`: relative standard deviation of a round; `anchors_ms`: of the anchors then."""

    ms: float
    spread: float
    anchors_ms: tuple[float, ...]
    contention: float


def measure(
    net: Deployed, section: LatencySection, *, table: LatencyTable | None = None, make_bench: MakeBench = LocalBench
) -> Measurement:
    """One deployed network: `measure_all`.

    >>> measure(deployed(arch), LatencySection()).ms  # doctest: +SKIP
    """
    [found] = measure_all([net], section, table=table, make_bench=make_bench)
    return found


def measure_all(
    nets: Sequence[Deployed],
    section: LatencySection,
    *,
    table: LatencyTable | None = None,
    make_bench: MakeBench = LocalBench,
) -> list[Measurement]:
    """Deployed networks of one input, by the protocol that tables are built with. With `table`, in milliseconds of the
    time when it was built: what the machine has slowed down since is divided out by the anchors (compare `anchors_ms`).

    Raises SweepError where the backend is not there, or the cores are shared and the clock cannot tell.
    """
    image = nets[0].arch.input
    bench = make_bench(section, image, None)
    jobs = [Job(f"{number} {net.arch.key}", net.arch, net=net) for number, net in enumerate(nets)]
    passes: dict[str, list[Rounds]] = {job.id: [] for job in jobs}
    looks: list[Mix] = []
    with torch_aside():
        for number in range(MOST_PASSES):
            unsure = [job for job in jobs if number < PASSES or of_passes(passes[job.id]).uncertainty > UNCERTAIN]
            for group in groups(unsure):
                taken, anchors_ms = time_jobs(bench, group, group[0].rounds(section))
                looks.append(anchors_ms)
                for job, rounds in zip(group, taken, strict=True):
                    passes[job.id].append(rounds)
    shared = bench.contention()
    refuse_shared_cores(Path("latency"), section, bench, shared)
    now = tuple(sorted(ms)[len(ms) // 2] for ms in zip(*looks, strict=True))
    then = now if table is None else table.setting.anchors_ms
    found = []
    for job in jobs:
        together = Rounds(tuple(ratio for rounds in passes[job.id] for ratio in rounds.ratios))
        ms = together.median * dot(mix(job.macs_m, job.weights_m, image), then)
        found.append(Measurement(ms, together.spread, now, shared))
    return found


def of_passes(passes: Sequence[Rounds]) -> Rounds:
    """A median of each: rounds of one pass share their noise."""
    return Rounds(tuple(rounds.median for rounds in passes))


def time_jobs(bench: Bench, jobs: Sequence[Job], rounds: int) -> tuple[list[Rounds], Mix]:
    """Each of `jobs`, and the anchors' milliseconds meanwhile."""
    ratios: dict[str, list[float]] = {job.id: [] for job in jobs}
    looks = []
    for timed in bench.time(jobs, [rounds] * len(jobs), 0):
        looks.append(timed.anchors_s)
        for name, ratio in timed.ratios:
            ratios[name].append(ratio)
    anchors_ms = tuple(1e3 * sorted(seconds)[len(looks) // 2] for seconds in zip(*looks, strict=True))
    return [Rounds(tuple(ratios[job.id])) for job in jobs], anchors_ms


def dot(shares: Mix, ms: Sequence[float]) -> float:
    """Milliseconds of a mix of anchors."""
    return sum(share * each for share, each in zip(shares, ms, strict=True))


def refuse_shared_cores(where: Path, section: LatencySection, bench: Bench, found: float) -> None:
    if bench.identity.clock == WALL_CLOCK.name and found > SHARED_RATIO and not section.noisy:
        raise SweepError(
            f"{where}: the cores must be free while latency is read from the wall clock, but other programs use them "
            f"(wall / CPU time is {found:.1f}, at most {SHARED_RATIO} is right); stop those programs, or measure on a "
            "CPU with latency.threads: 1 (read from the CPU-time clock), or accept it with latency.noisy: true"
        )


@contextmanager
def torch_aside() -> Iterator[None]:
    """PyTorch makes and traces the networks here: on one thread, since on shared cores the threads wait for each other
    longer than they work, and without moving the caller's random numbers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            yield
    finally:
        torch.set_num_threads(threads)
