"""Whether a latency table may be relied on: its error on held-out networks, and whether it is still true."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from ffnet_search.config.schema import LatencySection
from ffnet_search.errors import SweepError
from ffnet_search.latency.bench import LocalBench, MakeBench
from ffnet_search.latency.measure import time_jobs, torch_aside
from ffnet_search.latency.plan import Job, mix, network_job
from ffnet_search.latency.table import Check, LatencyTable
from ffnet_search.progress import say

SENTINELS = 5  # held-out networks that are measured again
LOOKS = 3  # at them, each longer than the last, before a table is called stale
LEAST_DRIFT = 0.05  # that matters


def refuse_inaccurate(table: LatencyTable, section: LatencySection, path: Path) -> None:
    """Raises SweepError where too few held-out networks are predicted well; says so only, where `section.noisy`."""
    error = table.error
    if error.within_10 >= section.min_within_10:
        return
    worst = "; ".join(
        f"{check.architecture.key} {check.error:+.0%} of {check.measured_ms:.3g} ms, spread {check.spread:.0%}"
        for check in table.worst[:3]
    )
    if error.noise_floor > 0.5 * error.mean:
        advice = (
            f"the machine was busy (wall / CPU time {table.setting.contention:.1f}, two halves of the measurements "
        )
        advice += f"differ by {100 * error.noise_floor:.1f} %): measure on a quieter one, or with more latency.rounds"
    else:
        advice = "the measurements agree with each other, so the networks are hard to predict: give more of them to "
        advice += "fit on (latency.calibration)"
    _refuse(
        f"{path}: {section.min_within_10:.0%} of the held-out networks must be predicted within 10 % "
        f"(latency.min_within_10), but {error.within_10:.0%} are, the worst of them: {worst}; {advice}, then move the "
        "file away and profile again; or accept it with a lower latency.min_within_10, or latency.noisy: true",
        section,
    )


def refuse_stale(table: LatencyTable, section: LatencySection, path: Path, make_bench: MakeBench = LocalBench) -> float:
    """Raises SweepError where the table is of another device or runtime, or no longer of this one: where sentinels,
    measured again, have drifted against the anchors by more than the error that nine in ten held-out networks keep.

    Returns the drift, as a share: the median over the sentinels of the change of their time, in units of the anchors'.
    A device that got slower as a whole has none. Where `section.noisy`, it is only said.
    """
    sentinels = _sentinels(table.held_out)
    image = sentinels[0].architecture.input
    bench = make_bench(section, image, None)
    now, then = bench.identity, table.setting
    versions = {name: then.versions.get(name) for name in now.versions}
    for what, old, new in (
        ("device", then.device, now.device),
        ("runtime", versions, now.versions),
        ("settings", then.settings, now.settings),
    ):
        if old != new:
            _refuse(
                f"{path}: must be of the {what} that is there, {new}, but was measured with {old}; move the file away "
                "and profile again, or accept it with latency.noisy: true",
                section,
            )
    limit = max(LEAST_DRIFT, sorted(abs(check.error) for check in table.held_out)[int(0.9 * len(table.held_out))])
    jobs = [network_job(check.architecture, 0) for check in sentinels]
    drift = limit
    for look in range(LOOKS):
        with torch_aside():
            rounds, _ = time_jobs(bench, jobs, 3 + 2 * look)
        found = [taken.median * _reference(job, table) for taken, job in zip(rounds, jobs, strict=True)]
        drift = statistics.median(abs(ms / check.measured_ms - 1) for ms, check in zip(found, sentinels, strict=True))
        if drift <= limit:
            return drift
    _refuse(
        f"{path}: is stale: {len(sentinels)} of its networks, measured again, must be within {limit:.0%} of what they "
        f"took on {then.date[:10]}, but have drifted by {drift:.0%} against the anchor networks (other "
        "programs, another clock or power setting); move the file away and profile again, or accept it with "
        "latency.noisy: true",
        section,
    )
    return drift


def _reference(job: Job, table: LatencyTable) -> float:
    """Milliseconds of the job's mix of anchors when the table was built."""
    subject = table.held_out[0].architecture
    shares = mix(job.macs_m, job.weights_m, subject.input)
    return sum(share * ms for share, ms in zip(shares, table.setting.anchors_ms, strict=True))


def _sentinels(held_out: Sequence[Check]) -> list[Check]:
    """From the fastest to the slowest, evenly spread, of those whose own measurement was certain."""
    certain = sorted(held_out, key=lambda check: check.spread)[: max(SENTINELS, len(held_out) // 2)]
    ordered = sorted(certain, key=lambda check: check.measured_ms)
    count = min(SENTINELS, len(ordered))
    return [ordered[round(i * (len(ordered) - 1) / max(1, count - 1))] for i in range(count)]


def _refuse(message: str, section: LatencySection) -> None:
    if not section.noisy:
        raise SweepError(message)
    say(f"warning, accepted by latency.noisy: {message}")
