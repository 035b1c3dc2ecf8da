"""The best network for a latency budget, the same for `pick`, `show`, the report with its slider, the image and Python.

An exported network keeps a budget by the latency that was measured, any other by the table. The best is by the quality
that is the objective, on search validation, or by cross-validation where all exported networks have it: the test split
chooses nothing. Where another network is better that is not exported, the answer names both, and the command that
exports it: better as the search compared it, or, where both were retrained, as they are now.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ffnet_search.config.named_metrics import ranking
from ffnet_search.config.sweep import Sweep
from ffnet_search.export.exported import ExportedNetwork
from ffnet_search.export.retraining.record import retrained_metrics
from ffnet_search.formatting import quoted
from ffnet_search.latency.table import LatencyTable
from ffnet_search.metrics import ERROR, FOLDS, INHERITED, LATENCY, Metric
from ffnet_search.pareto.candidate import Candidate


@dataclass(frozen=True)
class Offer:
    """A candidate for the answer.

    `quality`: of the weights that are exported, or would be as far as is known; `compared`: of those that the search
    compared, the same where nothing was retrained. `is_final`: the quality is that of an export. `ms`: measured, or of
    the table where it is not exported or not measured there."""

    key: str
    quality: float
    compared: float
    ms: float
    candidate: Candidate | None  # None for an exported network that the present study lacks
    exported: ExportedNetwork | None = None
    is_measured: bool = False
    is_final: bool = False

    def worse_by(self, other: Offer, quality: Metric) -> float:
        """The difference to another network, positive where this is worse; a retraining counts where both had one."""
        if self.is_final and other.is_final:
            return quality.sign * (self.quality - other.quality)
        return quality.sign * (self.compared - other.compared)


@dataclass(frozen=True)
class Answer:
    """`exported`: the best exported network within the budget. `better`: one that the search compared as better, which
    is not exported. None if there is none."""

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
    quality = ranking(sweep)
    key = f"search_{quality.key}"
    suffix = f"@{device}" if device else ""
    by_key = {candidate.key: candidate for candidate in candidates}
    found = []
    for network in exported:
        figures = network.metrics
        reached, measured = figures[key], figures.get(f"measured_ms{suffix}")
        candidate = by_key.pop(network.key, None)
        before = reached if candidate is None else candidate.metrics[quality.key]
        compared = figures.get(INHERITED + key, before)
        ms = table.predict_ms(network.network) if measured is None else measured
        found.append(Offer(network.key, reached, compared, ms, candidate, network, measured is not None, True))
    known = all(LATENCY.key in candidate.metrics for candidate in by_key.values())
    if known and not device:  # the search has predicted them by the same table
        times = [candidate.metrics[LATENCY.key] for candidate in by_key.values()]
    else:
        times = table.predict_batch(candidate.network for candidate in by_key.values())
    retrained = retrained_metrics(sweep, by_key.values())
    for candidate, ms in zip(by_key.values(), times, strict=True):
        compared = candidate.metrics[quality.key]
        after = retrained.get(candidate.key, {}).get(quality.key)
        reached = compared if after is None else min(compared, after, key=lambda one: quality.sign * one)
        found.append(Offer(candidate.key, reached, compared, ms, candidate, is_final=after is not None))
    return found


def answer(networks: Iterable[Offer], quality: Metric, latency_ms: float = math.inf) -> Answer:
    """The best networks within a latency. Of equal ones, the quickest."""
    exported, better, as_compared = None, None, None
    networks = list(networks)
    split = ranked_on([one.exported for one in networks if one.exported is not None], quality)
    fitting = [one for one in networks if one.ms <= latency_ms]
    if shown := [one for one in fitting if one.exported is not None]:
        exported = min(shown, key=lambda one: (quality.sign * _quality_on(split, one, quality), one.ms))
        as_compared = min(shown, key=lambda one: (quality.sign * one.quality, one.ms))
    others = [one for one in fitting if one.exported is None]
    if as_compared is not None:
        others = [one for one in others if one.worse_by(as_compared, quality) < 0]
    if others:
        better = min(others, key=lambda one: (*_order(one, as_compared, quality), one.ms))
    return Answer(exported, better)


def ranked_on(exported: Sequence[ExportedNetwork], quality: Metric) -> str:
    """The split that exported networks are ranked on: "folds" where all have such figures, else "search"."""
    by_folds = exported and all(f"{FOLDS}_{quality.key}" in one.metrics for one in exported)
    return FOLDS if by_folds else "search"


def _quality_on(split: str, one: Offer, quality: Metric) -> float:
    """The quality of an exported network on a split of `ranked_on`."""
    return one.exported.metrics[f"{FOLDS}_{quality.key}"] if split == FOLDS and one.exported else one.quality


def _order(one: Offer, exported: Offer | None, quality: Metric) -> tuple[float, float]:
    """The order among networks that are not exported: by the lead over the exported one, then as compared."""
    return (0.0 if exported is None else one.worse_by(exported, quality), quality.sign * one.compared)


def answers(networks: Sequence[Offer], quality: Metric) -> list[tuple[float, Answer]]:
    """The answer to every budget: (budget from which on it holds, answer), ascending."""
    shown = [one for one in networks if one.exported is not None]
    others = [one for one in networks if one.exported is None]
    retrained, compared = ([one for one in others if one.is_final == final] for final in (True, False))
    kept = [*shown, *retrained, *_front(compared, quality)]
    steps: list[tuple[float, Answer]] = []
    for ms in sorted({one.ms for one in kept}):
        found = answer(kept, quality, ms)
        if not steps or found != steps[-1][1]:
            steps.append((ms, found))
    return steps


def _front(networks: Sequence[Offer], quality: Metric) -> list[Offer]:
    """The offers for which no quicker one is as good; no other one can be the answer."""
    front: list[Offer] = []
    for one in sorted(networks, key=lambda one: (one.ms, quality.sign * one.compared)):
        if not front or quality.sign * (one.compared - front[-1].compared) < 0:
            front.append(one)
    return front


def first_answer(networks: Sequence[Offer], sweep: Sweep) -> Answer:
    """The answer to the sweep's own limit of latency; where no exported network keeps it, to any."""
    limit = sweep.search.constraints.get(LATENCY.key, math.inf)
    found = answer(networks, ranking(sweep), limit)
    return found if found.exported is not None else answer(networks, ranking(sweep))


def hint(found: Answer, quality: Metric, folder: Path) -> str:
    """A better network that is not exported, and the command that exports it; empty if there is none."""
    words = better_words(found, quality)
    return "" if found.better is None else f"{words}; to have it: {export_command(folder, found.better.key)}"


def better_words(found: Answer, quality: Metric) -> str:
    """A better network that is not exported; empty if there is none."""
    better = found.better
    if better is None:
        return ""
    words = "better, but not exported" if found.exported else "not exported"
    error = None if better.candidate is None else better.candidate.metrics.get(f"{quality.key}{ERROR}")
    reached = f"{quality.format_with(better.compared, error)} as the search compared it"
    if found.exported and found.exported.compared != found.exported.quality:  # or the table seems to contradict it
        reached += f" with {found.exported.key}, then at {quality.format(found.exported.compared)}"
    if better.is_final:
        reached = f"{quality.format(better.quality)} as it was retrained"
    return f"{words}: {better.key}, {quality.phrase} {reached}, {LATENCY.format(better.ms)} (predicted)"


def export_command(folder: Path, key: str) -> str:
    """The command that exports one network of a run."""
    return f"ffnet-search export {quoted(folder)} --key {key}"
