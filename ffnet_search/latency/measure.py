"""Milliseconds of given networks, measured together in passes that are seconds apart, until the passes agree."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ffnet_search.config.schema import LatencySection
from ffnet_search.errors import SweepError
from ffnet_search.latency.bench import Bench, Job, LocalBench, MakeBench, groups, network_job
from ffnet_search.latency.table import LatencyTable
from ffnet_search.latency.timing import SHARED_RATIO, WALL_CLOCK, Mix, Rounds, gather, middle
from ffnet_search.models.deployed import Deployed
from ffnet_search.progress import progress
from ffnet_search.space.input import Input

PASSES = 5  # over the networks, each compiled again, seconds apart: a slow phase of a machine lasts for about ten
UNCERTAIN = 0.02  # relative standard error of a median beyond which it is measured again
MOST_PASSES = 3 * PASSES
MODULE_ANCHORS = Input(3, 32, 10)  # the input of the anchors of user-supplied modules, whatever theirs is


@dataclass(frozen=True)
class Measurement:
    """The latency of one network."""

    ms: float
    spread: float  # relative standard deviation of one round
    anchors_ms: tuple[float, ...]  # of the anchors meanwhile
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
    bench = make_bench(section, image, None)
    jobs = [network_job(net.arch, number, net) for number, net in enumerate(nets)]
    passes, now = _time_in_passes(jobs, section, bench)
    contention = bench.contention()
    refuse_shared_cores(Path("latency"), section, bench, contention)
    then = now if table is None else table.setting.anchors_ms
    measurements = []
    for job in jobs:
        rounds = Rounds.joined(passes[job.id])
        measurements.append(Measurement(rounds.median * job.unit_ms(image, then), rounds.spread, now, contention))
    return measurements


def _time_in_passes(jobs: Sequence[Job], section: LatencySection, bench: Bench) -> tuple[dict[str, list[Rounds]], Mix]:
    """Return the passes of each job, repeated until its time is certain, and the anchors' milliseconds meanwhile."""
    passes: dict[str, list[Rounds]] = {job.id: [] for job in jobs}
    readings: list[Mix] = []
    with progress("measure", PASSES * len(jobs), "timings") as bar:
        for number in range(MOST_PASSES):
            unsure = jobs
            if number >= PASSES:
                unsure = [job for job in jobs if Rounds.of_medians(passes[job.id]).uncertainty > UNCERTAIN]
                bar.extend(len(unsure))
            for group in groups(unsure):
                timed, anchors_ms = time_jobs(bench, group, group[0].rounds(section))
                readings.append(anchors_ms)
                for job, rounds in zip(group, timed, strict=True):
                    passes[job.id].append(rounds)
                bar.advance(len(group))
    return passes, middle(readings)


def measure_module(module: nn.Module, shape: Sequence[int], section: LatencySection) -> Measurement:
    """Measure a user-supplied module on random inputs of `shape`, batch included, in this process.

    A copy on CPU in evaluation mode is measured: the module keeps its device and its mode. Raises SweepError if the
    module cannot be copied, or the backend is not available."""
    name = type(module).__name__
    try:
        net = copy.deepcopy(module).cpu().eval()
    except RuntimeError as error:  # an attribute is a tensor of the autograd graph
        raise SweepError(
            f"{name} must be a module that copy.deepcopy can copy, for its latency to be measured, but: {error}; keep "
            "tensors of the last step out of its attributes, or detach them"
        ) from None
    bench = LocalBench(section.model_copy(update={"batch_size": shape[0]}), MODULE_ANCHORS)
    params_m = sum(parameter.numel() for parameter in net.parameters()) / 1e6
    job = Job(name, lambda: net, tuple(shape[1:]), count_macs_m(net, shape) / shape[0], params_m)
    [rounds], now = time_jobs(bench, [job], section.rounds)
    return Measurement(rounds.median * job.unit_ms(MODULE_ANCHORS, now), rounds.spread, now, bench.contention())


def count_macs_m(net: nn.Module, shape: Sequence[int]) -> float:
    """Million multiply-accumulates of one forward pass, by PyTorch's count of operators; at least one of them."""
    with torch_aside(), FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(*shape))
    return max(1.0, counter.get_total_flops() / 2) / 1e6


def time_jobs(bench: Bench, jobs: Sequence[Job], rounds: int) -> tuple[list[Rounds], Mix]:
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
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            yield
    finally:
        torch.set_num_threads(threads)
