"""Checks before a latency table is used: its error on held-out networks, its device, and drift since it was built."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from ffnet_search.config.schema import LatencySection
from ffnet_search.errors import SweepError
from ffnet_search.latency.bench import Bench, Identity, LocalBench, MakeBench
from ffnet_search.latency.jobs import network_job
from ffnet_search.latency.measure import time_jobs
from ffnet_search.latency.table import Check, LatencyTable
from ffnet_search.metrics import LATENCY
from ffnet_search.progress import say

SENTINELS = 5  # held-out networks that are measured again
ATTEMPTS = 3  # to measure them, each with more rounds than the last, before a table is called stale
MIN_DRIFT = 0.05  # a smaller one never makes a table stale
ADVICE = "move the file away and profile again"
ACCEPTED = "latency.noisy: true"


def refuse_inaccurate(table: LatencyTable, section: LatencySection, path: Path) -> None:
    """Raise SweepError if too few held-out networks are predicted within 10 %; only warn if `section.noisy`."""
    error = table.error
    if error.within_10 >= section.min_within_10:
        return
    worst = "; ".join(
        f"{check.architecture.key} {check.error:+.0%} of {LATENCY.format(check.measured_ms)}, spread {check.spread:.0%}"
        for check in table.worst[:3]
    )
    if error.noise_floor > 0.5 * error.mean:
        advice = (
            f"the machine was busy (wall / CPU time {table.setting.contention:.1f}, two halves of the measurements "
            f"differ by {100 * error.noise_floor:.1f} %): measure on a quieter one, or with more latency.rounds"
        )
    else:
        advice = (
            "the measurements agree with each other, so the networks are hard to predict: give more of them to fit on "
            "(latency.calibration)"
        )
    _refuse(
        f"{path}: {section.min_within_10:.0%} of the {error.networks_words} must be predicted within 10 % "
        f"(latency.min_within_10), but {error.within_10:.0%} are, the worst of them: {worst}; {advice}, then {ADVICE}",
        section,
        f"a lower latency.min_within_10, or {ACCEPTED}",
    )


def refuse_stale(table: LatencyTable, section: LatencySection, path: Path, make_bench: MakeBench = LocalBench) -> float:
    """Raise SweepError if the table is of another device or runtime, or its device has changed; else return the drift.

    Sentinels, some of the held-out networks, are measured again. The drift is the median over them of the relative
    change of their time, in units of the anchors': a device that got slower as a whole has none. It must be within the
    error that nine in ten held-out networks keep. If `section.noisy`, a warning is printed instead of the error."""
    sentinels = choose_sentinels(table.held_out)
    bench = make_bench(section, sentinels[0].architecture.input, None)
    _refuse_other_device(table, bench.identity, section, path)
    errors = sorted(abs(check.error) for check in table.held_out)
    limit = max(MIN_DRIFT, errors[int(0.9 * len(errors))])
    drift = limit
    for attempt in range(ATTEMPTS):
        drift = _drift(sentinels, table, bench, rounds=3 + 2 * attempt)
        if drift <= limit:
            return drift
    _refuse(
        f"{path}: is stale: {len(sentinels)} of its networks, measured again, must be within {limit:.0%} of what they "
        f"took on {table.setting.date[:10]}, but have drifted by {drift:.0%} against the anchor networks (other "
        f"programs, another clock or power setting); {ADVICE}",
        section,
    )
    return drift


def _refuse_other_device(table: LatencyTable, now: Identity, section: LatencySection, path: Path) -> None:
    then = table.setting
    versions = {name: then.versions.get(name) for name in now.versions}
    for what, old, new in (
        ("this device", then.device, now.device),
        ("this runtime", versions, now.versions),
        ("these settings", then.settings, now.settings),
    ):
        if old != new:
            _refuse(f"{path}: must be of {what}, {new}, but was measured with {old}; {ADVICE}", section)


def _drift(sentinels: Sequence[Check], table: LatencyTable, bench: Bench, rounds: int) -> float:
    jobs = [network_job(check.architecture, 0) for check in sentinels]
    timed, _ = time_jobs(bench, jobs, rounds)
    changes = []
    for taken, job, check in zip(timed, jobs, sentinels, strict=True):
        ms = taken.median * job.unit_ms(check.architecture.input, table.setting.anchors_ms)
        changes.append(abs(ms / check.measured_ms - 1))
    return statistics.median(changes)


def choose_sentinels(held_out: Sequence[Check]) -> list[Check]:
    """Sentinels from the fastest to the slowest, evenly spread, of the networks with the most certain measurement."""
    certain = sorted(held_out, key=lambda check: check.spread)[: max(SENTINELS, len(held_out) // 2)]
    ordered = sorted(certain, key=lambda check: check.measured_ms)
    count = min(SENTINELS, len(ordered))
    return [ordered[round(i * (len(ordered) - 1) / max(1, count - 1))] for i in range(count)]


def _refuse(message: str, section: LatencySection, accepted: str = ACCEPTED) -> None:
    """Raise SweepError, which says by what the fault is `accepted`; if it is by `section.noisy`, only warn."""
    if not section.noisy:
        raise SweepError(f"{message}, or accept it with {accepted}")
    say(f"warning, accepted by latency.noisy: {message}")
