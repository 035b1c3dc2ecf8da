"""What the verbs tell as plain data: one JSON document on standard output, for scripts (`--json`).

Metrics keep their names and units everywhere: accuracies are shares, 0 to 1, times are in milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ffnet_search.config.sweep import Sweep
from ffnet_search.export.exported import ExportedNetwork
from ffnet_search.latency.table import LatencyTable
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.search_space import SearchSpace

if TYPE_CHECKING:
    from ffnet_search.autoconfig.start import Started
    from ffnet_search.cli.resolve import Shown
    from ffnet_search.run.rerun import Rerun
    from ffnet_search.run.select import Selection
    from ffnet_search.run.stages import StageStatus

Document = dict[str, Any]


def as_text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, default=str)


def of_mistake(message: str, code: int) -> Document:
    """Instead of the document that was asked for, where there is none."""
    return {"error": message, "exit_code": code}


def of_architecture(arch: Architecture) -> Document:
    costs = {"params_m": arch.params_m, "macs_m": arch.macs_m}
    return {"key": arch.key, "summary": str(arch), **costs, "architecture": arch.to_dict()}


def of_space(space: SearchSpace) -> Document:
    """What may vary: the axes of its architectures, if it has any, and its hyper-parameters."""
    found: Document = {"search_space": space.name}
    found["hyperparameters"] = {name: one.model_dump(mode="json") for name, one in space.hyperparameters.items()}
    if space.architecture:
        found["fixed"] = of_architecture(space.architecture)
    if space.is_elastic:
        extremes = {"smallest": space.smallest, "largest": space.largest, **space.presets}
        found["size"] = space.size
        found["input"] = asdict(space.images)
        found["axes"] = {name: list(values) for name, values in space.axes().items()}
        found["networks"] = {name: of_architecture(arch) for name, arch in extremes.items()}
    return found


def of_table(table: LatencyTable) -> Document:
    return {
        "name": table.name,
        "setting": table.setting.model_dump(mode="json"),
        "error": table.error.model_dump(mode="json"),
        "parts": {key: entry.ms for key, entry in table.entries.items()},
    }


def of_stages(plan: Mapping[str, StageStatus]) -> Document:
    """The state of each stage: done, pending, incomplete, or changed with the fields of the sweep that differ."""
    return {
        name: {"state": status.state.value, "changes": [asdict(change) for change in status.changes]}
        for name, status in plan.items()
    }


def of_plan(sweep: Sweep, plan: Mapping[str, StageStatus]) -> Document:
    """A sweep, and what `run` would do now with each stage."""
    return {
        "sweep": sweep.name,
        "folder": str(sweep.files.folder),
        "stages": of_stages(plan),
        "trials": sweep.search.trials,
        "objectives": list(sweep.search.objectives),
        "constraints": dict(sweep.search.constraints),
        "search_space": of_space(sweep.search_space),
    }


def of_run(sweep: Sweep, picks: Sequence[ExportedNetwork], plan: Mapping[str, StageStatus]) -> Document:
    """Where a run stands, its files that are there, and its front."""
    return {
        "run": sweep.name,
        "folder": str(sweep.files.folder),
        "stages": of_stages(plan),
        "files": {name: str(path) for name, path in sweep.files.public.items() if path.exists()},
        "front": [of_pick(pick) for pick in picks],
    }


def of_pick(pick: ExportedNetwork) -> Document:
    network = {} if pick.architecture is None else of_architecture(pick.architecture)
    found = {"folder": str(pick.folder), "metrics": dict(pick.metrics), "hyperparameters": dict(pick.hyperparameters)}
    return {**found, **network, "key": pick.key}


def of_formats(picks: Sequence[ExportedNetwork], name: str) -> Document:
    """What `export --format` wrote, and what was found when it was run."""
    cards = {pick: json.loads((pick.folder / "card.json").read_text(encoding="utf-8")) for pick in picks}
    found = [{"folder": str(pick.folder), **card["formats"][name]} for pick, card in cards.items()]
    return {"format": name, "networks": found}


def of_choice(choice: Selection) -> Document:
    return {
        "device": choice.device,
        "latency_ms": choice.latency_ms,
        "metrics": dict(choice.candidate.metrics),
        "table_error": choice.table.error.model_dump(mode="json"),
        "warning": choice.warning,
        "advice": choice.advice,
        **of_architecture(choice.candidate.network),
    }


def of_rerun(found: Rerun) -> Document:
    """A trial's metrics then and now."""
    return {
        "trial": found.number,
        "key": found.configuration.key,
        "proposal": str(found.configuration),
        "metrics": {name: {"then": before, "now": now} for name, (before, now) in found.metrics.items()},
        "reasons": {"then": found.reasons[0], "now": found.reasons[1]},
        "changed": list(found.changed),
    }


def of_shown(shown: Shown) -> Document:
    """What `show` found: as in the document of the verb that makes it."""
    value = shown.value
    if isinstance(value, Architecture):
        return of_architecture(value)
    if isinstance(value, SearchSpace):
        return of_space(value)
    if isinstance(value, LatencyTable):
        return of_table(value)
    from ffnet_search.run.stages import plan

    if isinstance(value, Sweep):
        return of_plan(value, plan(value))
    sweep = Sweep.of_run(shown.name)
    return of_run(sweep, value, plan(sweep))


def of_start(started: Started) -> Document:
    return {
        "sweep": str(started.sweep),
        "files": [str(path) for path in started.files],
        "minutes": dict(started.minutes),
        "remarks": list(started.lines),
    }
