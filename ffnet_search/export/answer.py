"""The network for a budget: one answer for `pick`, `show`, the report with its slider, the image and Python.

An exported network keeps a budget by the latency that was measured, any other by the table. The best is by the quality
on search validation: the test split chooses nothing. Where the search has compared another network as better that is
not exported, the answer names both, and the command that exports it.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ffnet_search.config.sweep import Sweep
from ffnet_search.export.exported import ExportedNetwork
from ffnet_search.latency.table import LatencyTable
from ffnet_search.metrics import ERROR, INHERITED, LATENCY, Metric
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.tasks.base import find_task


@dataclass(frozen=True)
class Offer:
    """A network that may be the answer.

    `quality`: of the weights that are exported; `compared`: of those that the search compared, the same where nothing
    was retrained. `ms`: measured, or of the table where it is not exported or not measured there."""

    key: str
    quality: float
    compared: float
    ms: float
    candidate: Candidate | None  # None of an exported network whose study is another one by now
    exported: ExportedNetwork | None = None
    is_measured: bool = False


@dataclass(frozen=True)
class Answer:
    """`exported`: the best exported network within the budget. `better`: one that the search compared as better, which
    is not exported. None where there is none."""

    exported: Offer | None
    better: Offer | None

    @property
    def best(self) -> Offer | None:
        """The network that the search ranks first within the budget."""
        return self.better or self.exported


def offers(
    sweep: Sweep,
    candidates: Sequence[Candidate],
    exported: Sequence[ExportedNetwork],
    table: LatencyTable,
    device: str = "",
) -> list[Offer]:
    """All networks of a run with their latency on a device; "" is the search's own. `table`: of that device."""
    task, name = find_task(sweep.task), sweep.quality.name
    suffix = f"@{device}" if device else ""
    by_key = {candidate.key: candidate for candidate in candidates}
    found = []
    for network in exported:
        figures = network.metrics
        quality, measured = figures[task.search_quality], figures.get(f"measured_ms{suffix}")
        compared = figures.get(INHERITED + task.search_quality, quality)
        ms = table.predict_ms(network.network) if measured is None else measured
        candidate = by_key.pop(network.key, None)
        found.append(Offer(network.key, quality, compared, ms, candidate, network, measured is not None))
    known = all(LATENCY.key in candidate.metrics for candidate in by_key.values())
    if known and not device:  # the search has predicted them by the same table
        times = [candidate.metrics[LATENCY.key] for candidate in by_key.values()]
    else:
        times = table.predict_batch(candidate.network for candidate in by_key.values())
    for candidate, ms in zip(by_key.values(), times, strict=True):
        quality = candidate.metrics[name]
        found.append(Offer(candidate.key, quality, quality, ms, candidate))
    return found


def answer(networks: Iterable[Offer], quality: Metric, latency_ms: float = math.inf) -> Answer:
    """The best networks within a latency. Of equal ones, the quickest."""
    exported, better = None, None
    fitting = [one for one in networks if one.ms <= latency_ms]
    if shown := [one for one in fitting if one.exported is not None]:
        exported = min(shown, key=lambda one: (quality.sign * one.quality, one.ms))
    least = math.inf if exported is None else quality.sign * exported.compared
    others = [one for one in fitting if one.exported is None and quality.sign * one.compared < least]
    if others:
        better = min(others, key=lambda one: (quality.sign * one.compared, one.ms))
    return Answer(exported, better)


def answers(networks: Sequence[Offer], quality: Metric) -> list[tuple[float, Answer]]:
    """The answer to every budget: (budget from which on it holds, answer), ascending."""
    front: list[Offer] = []  # of those that are not exported: no other one is ever an answer
    shown = [one for one in networks if one.exported is not None]
    others = [one for one in networks if one.exported is None]
    for one in sorted(others, key=lambda one: (one.ms, quality.sign * one.compared)):
        if not front or quality.sign * (one.compared - front[-1].compared) < 0:
            front.append(one)
    kept = [*front, *shown]
    steps: list[tuple[float, Answer]] = []
    for ms in sorted({one.ms for one in kept}):
        found = answer(kept, quality, ms)
        if not steps or found != steps[-1][1]:
            steps.append((ms, found))
    return steps


def first_answer(networks: Sequence[Offer], sweep: Sweep) -> Answer:
    """The answer to the sweep's own limit of latency; where no exported network keeps it, to any."""
    limit = sweep.search.constraints.get(LATENCY.key, math.inf)
    found = answer(networks, sweep.quality, limit)
    return found if found.exported is not None else answer(networks, sweep.quality)


def hint(found: Answer, quality: Metric, folder: Path) -> str:
    """A better network that is not exported, and the command that exports it; empty where there is none."""
    better = found.better
    if better is None:
        return ""
    words = "better, but not exported" if found.exported else "not exported"
    error = None if better.candidate is None else better.candidate.metrics.get(f"{quality.name}{ERROR}")
    return (
        f"{words}: {better.key}, {quality.phrase} {quality.format_with(better.compared, error)} as the search "
        f"compared it, {LATENCY.format(better.ms)} (predicted); to have it: {export_command(folder, better.key)}"
    )


def export_command(folder: Path, key: str) -> str:
    """The command that exports one network of a run."""
    return f"ffnet-search export {shlex.quote(str(folder))} --key {key}"
