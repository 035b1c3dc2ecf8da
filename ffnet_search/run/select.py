"""Select the network of a run for a budget on one of its devices, or in a format for another runtime: from what is
exported, its study and a table."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from ffnet_search.config.commands import command_of
from ffnet_search.config.files import RunPaths
from ffnet_search.config.named_metrics import ranking
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError, did_you_mean
from ffnet_search.export.answer import Answer, Offer, answer, hint, offers
from ffnet_search.export.exported import ExportedNetwork, read_exported
from ffnet_search.export.formats.timed import format_ms, timed_offers
from ffnet_search.export.groups import not_told_apart, read_groups
from ffnet_search.formatting import percent, quoted
from ffnet_search.latency.table import LatencyTable
from ffnet_search.metrics import LATENCY, Metric
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.run.search_advice import advice_of
from ffnet_search.search.storage.study import read_candidates
from ffnet_search.space.cost_model import least_latency


@dataclass(frozen=True)
class Selection:
    """The network for a budget on a device, of the run in `folder`.

    `format`: the one whose milliseconds count in place of the device's, or empty. `advice`: why to continue the search,
    or empty. `warning`: how inaccurate the device's table is, or empty."""

    folder: Path
    device: str
    answer: Answer
    quality: Metric
    table: LatencyTable
    is_of_search: bool = True  # the device is the first one, by which the search ranks
    format: str = ""
    advice: str = ""
    warning: str = ""

    @property
    def offer(self) -> Offer:
        """The exported network, or else the best that was evaluated."""
        offer = self.answer.exported or self.answer.better
        assert offer is not None  # `select_network` refuses such a budget
        return offer

    @property
    def candidate(self) -> Candidate | None:
        """The network as the search evaluated it; None if its study is gone."""
        return self.offer.candidate

    @property
    def latency_ms(self) -> float:
        """The milliseconds of the network: measured where it is exported, else predicted."""
        return self.offer.ms

    @property
    def exported(self) -> ExportedNetwork | None:
        """The exported network; None if none keeps the budget."""
        return self.offer.exported

    @property
    def alike(self) -> dict[str, float]:
        """Name -> milliseconds of the exported networks that are quicker here and, by a paired test on validation
        images, not told apart from this one."""
        if self.exported is None:
            return {}
        pareto, suffix = self.exported.folder.parent, "" if self.is_of_search else f"@{self.device}"
        names = not_told_apart(read_groups(pareto), "search", self.exported.folder.name)
        times = {
            one.folder.name: format_ms(one, self.format)
            if self.format
            else one.metrics.get(f"measured_ms{suffix}", math.inf)
            for one in read_exported(pareto)
        }
        return {name: times[name] for name in names if times.get(name, math.inf) < self.latency_ms}

    @property
    def path(self) -> Path | None:
        """The folder of the exported network, or its model in the format that was asked for."""
        if self.exported is None:
            return None
        if not self.format:
            return self.exported.folder
        return self.exported.folder / str(self.exported.read_card()["formats"][self.format]["files"][0])

    @property
    def measured_as(self) -> str:
        """The device or the format of the milliseconds, in words."""
        return f"as {self.format}" if self.format else f"on {self.device}"

    @property
    def hint(self) -> str:
        """A better network that is not exported, and the command that exports it; empty if there is none."""
        return hint(self.answer, self.quality, self.folder)


def select_network(
    folder: Path,
    latency_ms: float = math.inf,
    device: str | None = None,
    quality: float | None = None,
    of: str = "",
    format: str = "",
) -> Selection:
    """Select the network with the best quality, on search validation, that keeps `latency_ms` on `device`, of a run's
    `folder`, or of a sweep's file. The quality is the objective of the search, the task's own if none is one.

    Exported networks keep it as they were measured, others as they are predicted. `quality`: the least that it must
    have, and `of` its name, if the user gave one; without a latency the quickest such network is selected. `device`
    names a table in the run's `latency/`; by default it is the search's first one. With `format` only exported networks
    that are written in it count, by the milliseconds of these models. Raises SweepError if the run, its study or the
    table is missing, and if no candidate is as good and as fast: with the fastest one, and the fastest of the space."""
    sweep = Sweep.of_run(folder)
    files, folder = sweep.files, sweep.files.folder
    path = _table_path(files, sweep, device)
    table = LatencyTable.load(path)
    candidates, metric = _evaluated(files, sweep), ranking(sweep)
    suffix = "" if path.stem == sweep.latency_path.stem else path.stem
    known = offers(sweep, candidates, read_exported(files.pareto), table, suffix)
    if format:
        known = timed_offers(folder, known, format)
    if quality is not None:
        _refuse_other(folder, metric, quality, of)
        known = _good_enough(folder, known, metric, quality)
        if math.isinf(latency_ms):
            latency_ms = min((one.ms for one in known if one.exported), default=min(one.ms for one in known))
    found = answer(known, metric, latency_ms)
    selection = Selection(folder, path.stem, found, metric, table, is_of_search=not suffix, format=format)
    if found.best is None:
        good = "" if quality is None else f" whose {metric.phrase} is {metric.relation} {metric.format(quality)}"
        raise _too_slow(sweep, selection, known, good, latency_ms)
    if format:
        return selection
    advice = advice_of(sweep, table, path.stem, found.best, candidates, latency_ms)
    return replace(selection, advice=advice, warning=warning_of(sweep, path.stem, table))


def _evaluated(files: RunPaths, sweep: Sweep) -> list[Candidate]:
    if candidates := read_candidates(files.study, sweep.search_space):
        return candidates
    raise SweepError(f"{files.study}: holds no evaluated candidate; run `{command_of('search', sweep)}` first")


def _too_slow(sweep: Sweep, asked: Selection, known: list[Offer], good: str, latency_ms: float) -> SweepError:
    """The error of a budget that no network keeps; `good`: the quality that they must have, in words."""
    fastest = min(known, key=lambda one: one.ms)
    how = "measured" if fastest.is_measured else "predicted"
    networks = "exported networks" if asked.format else "candidates"
    problem = (
        f"{asked.folder}: of {len(known)} {networks}{good} the fastest takes {LATENCY.format(fastest.ms)} "
        f"{asked.measured_as} ({how}), but {latency_ms:g} ms were asked for"
    )
    if asked.format:
        return SweepError(
            f"{problem}; a quicker network of the run is exported by its key with `ffnet-search export "
            f"{quoted(asked.folder)} --key KEY --format {asked.format}`"
        )
    least_ms = asked.table.predict_ms(least_latency(sweep.search_space, asked.table))
    how = "ask for more, or give it smaller choices"
    if least_ms <= latency_ms:
        how = "search on with such a limit, or give it smaller choices"
    return SweepError(f"{problem}; the search space reaches {LATENCY.format(least_ms)} (predicted): {how}")


def _refuse_other(folder: Path, metric: Metric, quality: float, of: str) -> None:
    """Raise SweepError for a limit of another quality than the run ranks by, or one that no network can have."""
    if of and of != metric.key:
        raise SweepError(
            f"{folder}: --{of} is of runs that rank by it, but this one ranks by {metric.phrase}; give --quality"
        )
    if metric.bounds is None or min(metric.bounds) <= quality <= max(metric.bounds):
        return
    worst, perfect = metric.bounds
    share = f"; {quality:g} {metric.unit} is {quality / metric.scale:g}" if 1 < quality <= metric.scale else ""
    raise SweepError(
        f"{folder}: {metric.phrase} is from {min(worst, perfect):g} to {max(worst, perfect):g}, but {quality:g} was "
        f"asked for{share}"
    )


def _good_enough(folder: Path, known: list[Offer], metric: Metric, quality: float) -> list[Offer]:
    enough = [one for one in known if metric.sign * one.quality <= metric.sign * quality]
    if not enough:
        best = min(known, key=lambda one: metric.sign * one.quality)
        raise SweepError(
            f"{folder}: of {len(known)} candidates the best, {best.key}, has {metric.phrase} "
            f"{metric.format(best.quality)} on search validation, but {metric.format(quality)} was asked for; ask for "
            "less, or search on"
        )
    return enough


def _table_path(files: RunPaths, sweep: Sweep, device: str | None) -> Path:
    """The latency table of a device. Raises SweepError if it is missing, or the search was not among architectures."""
    if not sweep.search_space.is_elastic:
        raise SweepError(
            f"{files.folder}: must have searched among architectures, each with a latency, but has searched "
            f"hyper-parameters alone; its networks are in {files.pareto}, best first"
        )
    name = device or sweep.latency_path.stem
    path = files.latency / f"{name}.json"
    if not path.exists():
        known = sorted(table.stem for table in files.latency.glob("*.json"))
        profile = f"`{command_of('profile', sweep)}"
        if not files.study.exists():
            how = f"run `{command_of('run', sweep)}` first"
        elif name == sweep.latency_path.stem:
            how = f"make it with {profile}`"
        elif any(section.name == name for section in sweep.latency):
            how = f"make it with {profile} --device {name}`"
        else:
            how = "to measure another device, name it under latency in the sweep and profile it"
        raise SweepError(
            f"{files.latency}: holds no table of {name!r}{did_you_mean(name, known) or '; available: none'}; {how}"
        )
    return path


def warning_of(sweep: Sweep, device: str, table: LatencyTable) -> str:
    """A warning for a table that the search would refuse, by the limit of its device in the sweep."""
    tables = {sweep.files.latency_table(section).stem: section for section in sweep.latency}
    wanted, within_10 = tables.get(device, sweep.latency[0]).min_within_10, table.error.within_10
    if within_10 >= wanted:
        return ""
    return (
        f"only {percent(within_10, 0)} of the {table.error.networks_words} of the table of {device} are within 10 % of "
        f"their prediction (latency.min_within_10 is {wanted:g}): measure the network there before relying on this"
    )
