"""The results of the verbs as JSON documents on standard output, for scripts (`--json`).

Metrics keep their names and units everywhere: qualities that are shares are 0 to 1, times are in milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ffnet_search.cli.resolve import Front
from ffnet_search.config.sweep import Sweep
from ffnet_search.export.exported import ExportedNetwork
from ffnet_search.export.groups import read_first, read_groups
from ffnet_search.latency.table import LatencyTable
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.search_space import SearchSpace

if TYPE_CHECKING:
    from ffnet_search.autoconfig.start import Started
    from ffnet_search.export.pair import Pair
    from ffnet_search.run.overview import ListedRun
    from ffnet_search.run.rerun import Rerun
    from ffnet_search.run.run_comparison import RunComparison
    from ffnet_search.run.select import Selection

Document = dict[str, Any]


def of_architecture(arch: Architecture) -> Document:
    """A network, its costs in the deployed form, and its content as `Architecture.from_dict` reads it."""
    costs = {"params_m": arch.params_m, "macs_m": arch.macs_m}
    return {"key": arch.key, "summary": str(arch), **costs, "architecture": arch.to_dict()}


def of_space(space: SearchSpace) -> Document:
    """The choices of a search space: the axes of its architectures, if it has any, and its hyper-parameters."""
    document: Document = {"search_space": space.name}
    document["hyperparameters"] = {name: one.model_dump(mode="json") for name, one in space.hyperparameters.items()}
    if space.architecture:
        document["fixed"] = of_architecture(space.architecture)
    if space.is_elastic:
        extremes = {"smallest": space.smallest, "largest": space.largest, **space.presets}
        document["size"] = space.size
        document["input"] = space.images.to_dict()
        document["axes"] = {name: list(values) for name, values in space.axes().items()}
        document["networks"] = {name: of_architecture(arch) for name, arch in extremes.items()}
    return document


def of_table(table: LatencyTable) -> Document:
    """A latency table: its setting, its held-out error, and the milliseconds of each part."""
    return {
        "name": table.name,
        "setting": table.setting.model_dump(mode="json"),
        "error": table.error.model_dump(mode="json"),
        "parts": {key: entry.ms for key, entry in table.entries.items()},
    }


def of_stages(sweep: Sweep) -> Document:
    """The state of each stage: done, pending, incomplete, or changed with the fields of the sweep that differ."""
    from ffnet_search.run.stages import plan  # here, since most of what is shown needs no stages

    return {
        name: {"state": status.state.value, "changes": [asdict(change) for change in status.changes]}
        for name, status in plan(sweep).items()
    }


def of_plan(sweep: Sweep) -> Document:
    """A sweep, and the states that decide what `run` does now."""
    from ffnet_search.run.check import split_note
    from ffnet_search.run.cost_comparison import advice, compare_ways
    from ffnet_search.run.folder.code_changes import code_note
    from ffnet_search.run.shared_time import as_trained

    ways, stages = compare_ways(as_trained(sweep)), of_stages(sweep)
    change = "" if ways is None else advice(sweep, ways)
    notes = (split_note(sweep), change and f"consider {change}", code_note(sweep, stages))
    return {
        "sweep": sweep.name,
        "folder": str(sweep.files.folder),
        "stages": stages,
        "notes": list(filter(None, notes)),
        "cost": None if ways is None else asdict(ways) | {"supernet_pays_from": ways.pays_from},
        "trials": sweep.search.trials,
        "objectives": list(sweep.search.objectives),
        "constraints": dict(sweep.search.constraints),
        "search_space": of_space(sweep.search_space),
    }


def of_run(front: Front) -> Document:
    """The state of a run, its files that exist, and its front."""
    sweep = front.sweep
    return {
        "run": sweep.name,
        "folder": str(sweep.files.folder),
        "stages": of_stages(sweep),
        "files": {name: str(path) for name, path in sweep.files.public.items() if path.exists()},
        "front": [of_exported(network) for network in front.networks],
        "first": asdict(read_first(sweep.files.pareto)),
        "groups": {split: dict(groups) for split, groups in read_groups(sweep.files.pareto).items()},
    }


def of_exported(network: ExportedNetwork) -> Document:
    """An exported network: its folder, its metrics and its configuration."""
    document: Document = {"folder": str(network.folder), "metrics": dict(network.metrics)}
    document["hyperparameters"] = dict(network.hyperparameters)
    if network.architecture is not None:
        document |= of_architecture(network.architecture)
    return {**document, "key": network.key}


def of_formats(networks: Sequence[ExportedNetwork], name: str) -> Document:
    """The networks that `export --format` wrote, and how each compares with torch."""
    entries = [{"folder": str(network.folder), **network.read_card()["formats"][name]} for network in networks]
    return {"format": name, "networks": entries}


def of_selection(selection: Selection) -> Document:
    """The network that `pick` selected, how far to trust its latency, and a better one that is not exported."""
    exported, better, candidate = selection.exported, selection.answer.better, selection.candidate
    document: Document = {
        "folder": None if exported is None else str(exported.folder),
        "device": selection.device,
        "latency_ms": selection.latency_ms,
        "latency_is": "measured" if selection.offer.is_measured else "predicted",
        "metrics": dict(exported.metrics if exported is not None else candidate.metrics if candidate else {}),
        "table_error": selection.table.error.model_dump(mode="json"),
        "warning": selection.warning,
        "advice": selection.advice,
        "better": None if better is None else {"key": better.key, "latency_ms": better.ms, "hint": selection.hint},
    }
    if selection.format:
        document |= {"format": selection.format, "file": str(selection.path)}
    network = exported.architecture if exported is not None else candidate.architecture if candidate else None
    return document if network is None else {**document, **of_architecture(network), "key": selection.offer.key}


def of_rerun(rerun: Rerun) -> Document:
    """A trial's metrics then and now."""
    return {
        "trial": rerun.number,
        "key": rerun.configuration.key,
        "proposal": str(rerun.configuration),
        "metrics": {name: {"then": before, "now": now} for name, (before, now) in rerun.metrics.items()},
        "reasons": {"then": rerun.reasons[0], "now": rerun.reasons[1]},
        "changed": list(rerun.changed),
    }


def of_start(started: Started) -> Document:
    """The files that `init` wrote, and the minutes of each stage."""
    return {
        "sweep": str(started.sweep),
        "files": [str(path) for path in started.files],
        "minutes": dict(started.minutes),
        "remarks": list(started.lines),
    }


def of_runs(runs: Sequence[ListedRun]) -> Document:
    """The runs of a folder."""
    fields = ("state", "candidates", "networks", "best", "best_error", "measured_ms", "size_mb")
    rows = []
    for run in runs:
        quality = None if run.quality is None else run.quality.name
        changed = None if run.changed is None else run.changed.isoformat(timespec="seconds")
        values = {name: getattr(run, name) for name in fields}
        rows.append({"folder": str(run.folder), **values, "quality": quality, "changed": changed})
    return {"runs": rows}


def of_pair(pair: Pair) -> Document:
    """Two networks, and the paired tests of them."""
    return {
        "networks": [of_exported(network) for network in pair.networks],
        "tests": [asdict(test) for test in pair.tests],
        "verdict": pair.verdict,
    }


def of_run_comparison(comparison: RunComparison) -> Document:
    """Two fronts as one, and the settings that differ."""
    networks = [
        {"run": comparison.names[run], "on_joint_front": joint, **of_exported(network)}
        for run, network, joint in comparison.rows
    ]
    return {
        "runs": [str(sweep.files.folder) for sweep in comparison.sweeps],
        "networks": networks,
        "shares": list(comparison.shares),
        "devices": list(comparison.devices),
        "changes": [asdict(change) for change in comparison.changes],
        "best": None if comparison.best is None else of_pair(comparison.best),
    }
