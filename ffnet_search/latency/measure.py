"""Milliseconds of given networks, measured together in passes that are seconds apart, until the passes agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from ffnet_search.config.schema import LatencySection
from ffnet_search.errors import SweepError
from ffnet_search.files.temporary import scratch_folder
from ffnet_search.latency.bench import Bench, LocalBench, MakeBench
from ffnet_search.latency.jobs import Job, groups, network_job
from ffnet_search.latency.table import LatencyTable
from ffnet_search.latency.timing import SHARED_RATIO, WALL_CLOCK, Reading, Rounds, gather, middle
from ffnet_search.models.cpu_threads import threads
from ffnet_search.models.deployed import Deployed
from ffnet_search.progress import progress

PASSES = 5  # over the networks, each compiled again, seconds apart: a slow phase of a machine lasts for about ten
UNCERTAIN = 0.02  # relative standard error of a median beyond which it is measured again
MAX_PASSES = 3 * PASSES


@dataclass(frozen=True)
class Measurement:
    """The latency of one network."""

    ms: float
    spread: float  # relative standard deviation of one round
    anchors_ms: Reading  # of the anchors meanwhile
    contention: float  # wall / CPU time of busy threads


def measure_all(
    nets: Sequence[Deployed],
    section: LatencySection,
    *,
    table: LatencyTable | None = None,
    make_bench: MakeBench = LocalBench,
) -> list[Measurement]:
    """Measure deployed networks of one input, by the protocol that tables are built with.

    With `table`, milliseconds are those of the time when it was built: the anchors divide out whatever slowed the
    machine since. Raises SweepError if the backend is not available, or other programs use the cores and the clock
    includes them."""
    image = nets[0].arch.input
    jobs = [network_job(net.arch, number, net) for number, net in enumerate(nets)]
    with scratch_folder() as models:  # each is traced once, and compiled in every pass
        bench = make_bench(section, image, Path(models))
        passes, now = _time_in_passes(jobs, section, bench)
        contention = bench.contention()
    refuse_shared_cores(Path("latency"), section, bench, contention)
    then = now if table is None else table.setting.anchors_ms
    measurements = []
    for job in jobs:
        rounds = Rounds.joined(passes[job.id])
        measurements.append(Measurement(rounds.median * job.unit_ms(image, then), rounds.spread, now, contention))
    return measurements


def _time_in_passes(
    jobs: Sequence[Job], section: LatencySection, bench: Bench
) -> tuple[dict[str, list[Rounds]], Reading]:
    """Return the passes of each job, repeated until its time is certain, and the anchors' milliseconds meanwhile."""
    passes: dict[str, list[Rounds]] = {job.id: [] for job in jobs}
    readings: list[Reading] = []
    with progress("measure", PASSES * len(jobs), "timings") as bar:
        bar.more = (MAX_PASSES - PASSES) * len(jobs)
        for number in range(MAX_PASSES):
            unsure = jobs
            if number >= PASSES:
                unsure = [job for job in jobs if Rounds.of_medians(passes[job.id]).uncertainty > UNCERTAIN]
                bar.extend(len(unsure), (MAX_PASSES - 1 - number) * len(unsure))
            for group in groups(unsure):
                timed, anchors_ms = time_jobs(bench, group, group[0].rounds(section))
                readings.append(anchors_ms)
                for job, rounds in zip(group, timed, strict=True):
                    passes[job.id].append(rounds)
                bar.advance(len(group))
    return passes, middle(readings)


def time_jobs(bench: Bench, jobs: Sequence[Job], rounds: int) -> tuple[list[Rounds], Reading]:
    """Time each job in a number of rounds. Return these, and the anchors' milliseconds meanwhile."""
    with torch_aside():
        return gather(bench.time(jobs, [rounds] * len(jobs), 0), len(jobs))


def refuse_shared_cores(where: Path, section: LatencySection, bench: Bench, contention: float) -> None:
    """Raise SweepError if the wall clock includes the work of other programs, unless `section.noisy`."""
    if bench.identity.clock == WALL_CLOCK.name and contention > SHARED_RATIO and not section.noisy:
        raise SweepError(
            f"{where}: the cores must be free while latency is read from the wall clock, but other programs use them "
            f"(wall / CPU time is {contention:.1f}, and must be at most {SHARED_RATIO}); stop those programs, or "
            "measure on a CPU with latency.threads: 1 (read from the CPU-time clock), or accept it with "
            "latency.noisy: true"
        )


@contextmanager
def torch_aside() -> Iterator[None]:
    """Run PyTorch on one thread and on random numbers of its own inside the block.

    It builds and traces the networks; on shared cores several threads wait for each other longer than they work."""
    with threads(1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
