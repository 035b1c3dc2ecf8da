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
from ffnet_search.metrics import INHERITED, Metric
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
    times = table.predict_batch(candidate.network for candidate in by_key.values())
    for candidate, ms in zip(by_key.values(), times, strict=True):
        quality = candidate.metrics[name]
        found.append(Offer(candidate.key, quality, quality, float(ms), candidate))
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


def export_command(folder: Path, key: str) -> str:
    """The command that exports one network of a run."""
    return f"ffnet-search export {shlex.quote(str(folder))} --key {key}"
