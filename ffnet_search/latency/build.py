"""Builds a LatencyTable: measures what the plan says with a journal, again where the spread is large, fits, checks."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ffnet_search.config.schema import LatencySection
from ffnet_search.latency.bench import Bench, LocalBench, MakeBench
from ffnet_search.latency.journal import Journal
from ffnet_search.latency.measure import UNCERTAIN, dot, of_passes, refuse_shared_cores, torch_aside
from ffnet_search.latency.network_model import Calibration, by_kind, kind_of
from ffnet_search.latency.part_model import Overhead, interpolate
from ffnet_search.latency.plan import COPIES, PASSES, TOLERANCE, Job, Plan, groups, mix, network_job
from ffnet_search.latency.table import Check, Entry, LatencyTable, Setting, TableError
from ffnet_search.latency.timing import SHARED_RATIO, Rounds
from ffnet_search.progress import progress, say
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.parts import Part
from ffnet_search.space.search_space import SearchSpace

REPEATS = 0.15  # of all rounds may be spent on that, and so many again, up to MOST_REPEATS, while the limit is missed
MOST_REPEATS = 0.5


def profile(
    space: SearchSpace, section: LatencySection, path: Path, *, seed: int = 0, make_bench: MakeBench = LocalBench
) -> LatencyTable:
    """Measures the table of `space` and saves it at `path`. What an interrupted profile has measured is not lost.

    Raises SweepError where the backend is not there, the cores are shared and the clock cannot tell (unless
    `section.noisy`), or the space has too few networks to check a table on.
    """
    plan, kept = Plan(space, section, seed), path.with_name(f"{path.name}.models")
    bench = make_bench(section, plan.networks[0].input, kept)
    journal = Journal(path.with_name(f"{path.name}.journal"), _digest(space, section, seed, bench))
    with torch_aside():
        _measure_all(plan, section, bench, journal, path, seed)
        table = _repeat(plan, section, bench, journal, path, seed)
    if journal.contention > SHARED_RATIO:
        say(f"other programs used the cores meanwhile (wall / CPU time {journal.contention:.1f})")
    table.save(path)
    journal.path.unlink(missing_ok=True)
    shutil.rmtree(kept, ignore_errors=True)
    return table


def _measure_all(plan: Plan, section: LatencySection, bench: Bench, journal: Journal, path: Path, seed: int) -> None:
    todo = [job for job in plan.jobs if journal.count(job.id) < job.rounds(section)]
    name = f"profile {section.backend} (threads {section.threads}, batch {section.batch_size})"
    with progress(name, len(plan.jobs), "measurements", len(plan.jobs) - len(todo)) as bar:
        for group in groups(todo):
            _measure_group(group, section, bench, journal, path, seed)
            bar.advance(len(group))


def _measure_group(
    group: Sequence[Job], section: LatencySection, bench: Bench, journal: Journal, path: Path, seed: int
) -> None:
    """The rounds of each job once more, or what was missing of them."""
    rounds = [job.rounds(section) - journal.count(job.id) % job.rounds(section) for job in group]
    since = time.perf_counter()
    for timed in bench.time(group, rounds, seed):
        now = time.perf_counter()
        journal.add(timed.ratios, timed.anchors_s, now - since)
        since = now
    journal.add_contention(bench.contention())
    refuse_shared_cores(path, section, bench, journal.contention)


def _repeat(plan: Plan, section: LatencySection, bench: Bench, journal: Journal, path: Path, seed: int) -> LatencyTable:
    """The table, after what is least certain was measured again: chosen by its own spread, never by its error."""
    planned = sum(job.rounds(section) for job in plan.jobs)
    allowed = REPEATS
    while True:
        spent = sum(map(len, journal.ratios.values())) / planned - 1
        again = _uncertain(plan, journal, section)
        if again and spent < allowed:
            if not spent:
                say(f"profile: measuring {len(again)} networks and parts again, whose times spread")
            for group in groups(again[: max(1, min(len(again), int((allowed - spent) * len(plan.jobs))))]):
                _measure_group(group, section, bench, journal, path, seed)
            continue
        table = _table(plan, section, bench, journal)
        if table.error.within_10 >= section.min_within_10 or not again or allowed >= MOST_REPEATS:
            return table
        allowed += REPEATS


def _uncertain(plan: Plan, journal: Journal, section: LatencySection) -> list[Job]:
    """What to measure again, worst first: a network in another pass, a part in more rounds."""
    found = []
    for arch in plan.networks:
        passes = _passes(journal, arch)
        error = of_passes(passes).uncertainty
        last = network_job(arch, len(passes) - 1)
        is_whole = journal.count(last.id) % last.rounds(section) == 0
        found.append((error, network_job(arch, len(passes)) if is_whole else last))
    found += [(journal.rounds(job.id).uncertainty, job) for job in plan.chains + plan.singles]
    return [job for error, job in sorted(found, key=lambda pair: -pair[0]) if error > UNCERTAIN]


def _passes(journal: Journal, arch: Architecture) -> list[Rounds]:
    passes: list[Rounds] = []
    while journal.count(name := network_job(arch, len(passes)).id):
        passes.append(journal.rounds(name))
    return passes


def _halves(passes: Sequence[Rounds]) -> tuple[tuple[Rounds, Rounds], Rounds]:
    """Even and odd passes apart, and all of them together."""
    even, odd = (Rounds(tuple(r for taken in passes[first::2] for r in taken.ratios)) for first in (0, 1))
    return (even, odd), Rounds(even.ratios + odd.ratios)


def _table(plan: Plan, section: LatencySection, bench: Bench, journal: Journal) -> LatencyTable:
    anchors_ms, image = journal.anchors_ms, plan.networks[0].input

    def ms(job: Job) -> float:
        return journal.rounds(job.id).median * dot(mix(job.macs_m, job.weights_m, image), anchors_ms)

    single = {job.subject: ms(job) for job in plan.singles if isinstance(job.subject, Part)}
    chain = {job.subject: ms(job) for job in plan.chains if isinstance(job.subject, Part)}
    overhead = Overhead.fit({part: single[part] for part in plan.alone}, chain, COPIES)
    measured = {part: max(t - overhead(part), 0.1 * t) for part, t in single.items() if part not in chain}
    measured |= {part: max(t - overhead(part), 0.1 * t) / COPIES for part, t in chain.items()}
    alone_ms = interpolate(measured, plan.parts)

    networks = plan.networks
    taken = [_halves(_passes(journal, arch)) for arch in networks]
    scales = [dot(mix(arch.macs_m, arch.params_m, image), anchors_ms) for arch in networks]
    times = [both.median * scale for (_, both), scale in zip(taken, scales, strict=True)]
    sums = [by_kind(arch.parts, alone_ms) for arch in networks]
    weights = [arch.params_m for arch in networks]
    first = slice(plan.fitted)
    calibration = Calibration.fit(sums[first], weights[first], times[first])
    spreads = {job.subject: journal.rounds(job.id).spread for job in plan.singles + plan.chains}
    entries = {
        part.key: Entry(
            ms=calibration.slope_of(kind_of(part)) * alone_ms[part],
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
            halves_ms=(halves[0].median * scale, halves[1].median * scale),
            spread=both.spread,
        )
        for arch, alone, params_m, taken_ms, scale, (halves, both) in zip(
            networks, sums, weights, times, scales, taken, strict=True
        )
    ]
    held_out = checks[plan.fitted :]
    return LatencyTable(
        setting=_setting(section, bench, journal),
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


def _setting(section: LatencySection, bench: Bench, journal: Journal) -> Setting:
    identity = bench.identity
    return Setting(
        device=identity.device,
        backend=section.backend,
        settings=identity.settings,
        threads=section.threads,
        batch_size=section.batch_size,
        dtype="float32",
        versions={**_versions("ffnet-search", "torch"), **identity.versions},
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        clock=identity.clock,
        rounds=section.rounds,
        contention=journal.contention,
        anchors_ms=journal.anchors_ms,
        build_seconds=journal.seconds,
    )


def _versions(*packages: str) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a checkout that was never installed
            continue
    return found


def _digest(space: SearchSpace, section: LatencySection, seed: int, bench: Bench) -> str:
    inputs = [
        space.model_dump(mode="json", exclude={"name"}),
        section.model_dump(mode="json", exclude={"noisy", "min_within_10", "name"}),
        seed,
        asdict(bench.identity),
        _versions("torch"),
        [COPIES, TOLERANCE, PASSES],
    ]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
