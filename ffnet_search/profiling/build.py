"""Builds a LatencyTable: chooses what to measure, measures it with a journal, fits, and checks on held-out networks."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from ffnet_search.architecture import Input, Part
from ffnet_search.errors import SweepError
from ffnet_search.latency import Check, Entry, LatencyTable, Setting, TableError
from ffnet_search.models.fuse import deployed
from ffnet_search.profiling.backend import BACKENDS, Backend, make_backend
from ffnet_search.profiling.journal import Journal
from ffnet_search.profiling.plan import COPIES, PASSES, TOLERANCE, Job, Plan, anchor, groups, network_job
from ffnet_search.profiling.predictor import Calibration, Overhead, interpolate
from ffnet_search.profiling.protocol import (
    CPU_CLOCK,
    SHARED_RATIO,
    WALL_CLOCK,
    Clock,
    Rounds,
    Run,
    Stopwatch,
    contention,
)
from ffnet_search.progress import progress, say
from ffnet_search.search_space import SearchSpace
from ffnet_search.sweep import LatencySection


@dataclass(frozen=True)
class Measurement:
    """One network alone. `spread`: relative standard deviation of a round; `anchor_ms`: of the anchor at that time."""

    ms: float
    spread: float
    anchor_ms: float
    contention: float


def profile(space: SearchSpace, section: LatencySection, path: Path, *, seed: int = 0) -> LatencyTable:
    """Measures the table of `space` and saves it at `path`. What an interrupted profile has measured is not lost.

    Raises SweepError where the backend is not there, the cores are shared and the clock cannot tell (unless
    `section.noisy`), or the space has too few networks to check a table on.
    """
    backend, plan = make_backend(section), Plan(space, section, seed)
    journal = Journal(path.with_name(f"{path.name}.journal"), _digest(space, section, seed, backend))
    todo = [job for job in plan.jobs if job.id not in journal.ratios]
    name = f"profile {section.backend} (threads {section.threads}, batch {section.batch_size})"
    with _torch_aside(), progress(name, len(plan.jobs), "measurements", len(plan.jobs) - len(todo)) as bar:
        stopwatch = _stopwatch(backend, section, plan.networks[0].input) if todo else None
        for group in groups(todo):
            assert stopwatch is not None
            start, looks = time.perf_counter(), len(stopwatch.anchor_s)
            runs = [backend.load(job.build(), job.shape(section.batch_size), section.threads) for job in group]
            times = stopwatch.interleave(runs, section.rounds, seed)
            journal.add(
                {job.id: taken.ratios for job, taken in zip(group, times, strict=True)},
                stopwatch.anchor_s[looks:],
                contention(section.threads),
                time.perf_counter() - start,
            )
            _refuse_shared_cores(path, section, stopwatch.clock, journal.contention)
            bar.advance(len(group))
    if journal.contention > SHARED_RATIO:
        say(
            f"other programs used the cores meanwhile (wall / CPU time {journal.contention:.1f}): expect a larger error"
        )
    table = _table(plan, section, backend, journal)
    table.save(path)
    journal.path.unlink(missing_ok=True)
    return table


def measure(net: nn.Module, input: Input, section: LatencySection, *, table: LatencyTable | None = None) -> Measurement:
    """One deployed network, by the protocol that tables are built with. With `table`, in milliseconds of the time when
    it was built: what the machine has slowed down since is divided out by the anchor (compare `anchor_ms`).

    >>> measure(deployed(arch), arch.input, LatencySection()).ms  # doctest: +SKIP
    """
    backend = make_backend(section)
    with _torch_aside():
        stopwatch = _stopwatch(backend, section, input)
        shape = (section.batch_size, input.channels, input.resolution, input.resolution)
        [times] = stopwatch.interleave([backend.load(net, shape, section.threads)], PASSES * section.rounds)
    shared = contention(section.threads)
    _refuse_shared_cores(Path("latency"), section, stopwatch.clock, shared)
    anchor_ms = stopwatch.anchor_ms if table is None else table.setting.anchor_ms
    return Measurement(times.median * anchor_ms, times.spread, stopwatch.anchor_ms, shared)


def _table(plan: Plan, section: LatencySection, backend: Backend, journal: Journal) -> LatencyTable:
    anchor_ms = journal.anchor_ms
    ms: Callable[[Job], float] = lambda job: journal.rounds(job.id).median * anchor_ms  # noqa: E731
    single = {job.subject: ms(job) for job in plan.singles if isinstance(job.subject, Part)}
    chain = {job.subject: ms(job) for job in plan.chains if isinstance(job.subject, Part)}
    overhead = Overhead.fit({part: single[part] for part in plan.alone}, chain, COPIES)
    measured = {part: max(t - overhead(part), 0.1 * t) for part, t in single.items() if part not in chain}
    measured |= {part: max(t - overhead(part), 0.1 * t) / COPIES for part, t in chain.items()}
    alone_ms = interpolate(measured, plan.parts)

    networks = plan.networks
    passes = [[journal.rounds(network_job(arch, i).id) for i in range(PASSES)] for arch in networks]
    both = [Rounds(tuple(ratio for rounds in taken for ratio in rounds.ratios)) for taken in passes]
    times = [taken.median * anchor_ms for taken in both]
    sums = [sum(alone_ms[part] for part in arch.parts) for arch in networks]
    weights = [arch.params_m for arch in networks]
    calibration = Calibration.fit(*(values[: plan.fitted] for values in (sums, weights, times)))
    spreads = {job.subject: journal.rounds(job.id).spread for job in plan.singles + plan.chains}
    entries = {
        part.key: Entry(
            ms=calibration.slope * alone_ms[part],
            raw_ms=alone_ms[part],
            spread=spreads.get(part, 0.0),
            measured=part in measured,
        )
        for part in plan.parts
    }
    checks = [
        Check(
            architecture=arch,
            predicted_ms=calibration(alone, params_m),
            measured_ms=taken_ms,
            halves_ms=(halves[0].median * anchor_ms, halves[1].median * anchor_ms),
            spread=rounds.spread,
        )
        for arch, alone, params_m, taken_ms, halves, rounds in zip(
            networks, sums, weights, times, passes, both, strict=True
        )
    ]
    held_out = checks[plan.fitted :]
    return LatencyTable(
        setting=_setting(section, backend, journal),
        error=TableError.of(
            [check.predicted_ms for check in held_out],
            [check.measured_ms for check in held_out],
            [check.halves_ms for check in held_out],
        ),
        intercept_ms=calibration.intercept_ms,
        spill_ms_per_m=calibration.spill_ms_per_m,
        resident_m=calibration.resident_m,
        entries=entries,
        calibration=tuple(checks[: plan.fitted]),
        held_out=tuple(held_out),
    )


def _setting(section: LatencySection, backend: Backend, journal: Journal) -> Setting:
    return Setting(
        device=backend.device,
        backend=section.backend,
        settings=backend.settings(),
        threads=section.threads,
        batch_size=section.batch_size,
        dtype="float32",
        versions=_versions(section),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        clock=_clock(backend, section).name,
        rounds=section.rounds,
        contention=journal.contention,
        anchor_ms=journal.anchor_ms,
        build_seconds=journal.seconds,
    )


def _versions(section: LatencySection) -> dict[str, str]:
    packages = dict.fromkeys(("ffnet-search", "torch", *BACKENDS[section.backend].packages))
    return {package: version(package) for package in packages if _is_installed(package)}


def _is_installed(package: str) -> bool:
    try:
        return bool(version(package))
    except ModuleNotFoundError:  # run from a checkout that was never installed, or a build under another name
        return False


def _digest(space: SearchSpace, section: LatencySection, seed: int, backend: Backend) -> str:
    inputs = [
        space.model_dump(mode="json", exclude={"name"}),
        section.model_dump(mode="json", exclude={"noisy"}),
        seed,
        backend.device,
        _versions(section),
        [COPIES, TOLERANCE, PASSES],
    ]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def _clock(backend: Backend, section: LatencySection) -> Clock:
    return CPU_CLOCK if backend.in_process and section.threads == 1 else WALL_CLOCK


def _stopwatch(backend: Backend, section: LatencySection, input: Input) -> Stopwatch:
    shape = (section.batch_size, input.channels, input.resolution, input.resolution)
    run: Run = backend.load(deployed(anchor(input)), shape, section.threads)
    return Stopwatch(run, _clock(backend, section))


def _refuse_shared_cores(where: Path, section: LatencySection, clock: Clock, found: float) -> None:
    if clock is WALL_CLOCK and found > SHARED_RATIO and not section.noisy:
        raise SweepError(
            f"{where}: the cores must be free while latency is read from the wall clock, but other programs use them "
            f"(wall / CPU time is {found:.1f}, at most {SHARED_RATIO} is right); stop those programs, or measure on a "
            "CPU with latency.threads: 1 (read from the CPU-time clock), or accept it with latency.noisy: true"
        )


@contextmanager
def _torch_aside() -> Iterator[None]:
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
