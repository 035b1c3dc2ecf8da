"""The card of an exported network, card.json: its figures, how they were measured, and where the network comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ffnet_search.atomic_write import write_text
from ffnet_search.config.schema import LatencySection
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.datamodule import Data
from ffnet_search.evaluation.trained import resolved
from ffnet_search.export.exported import CARD
from ffnet_search.latency.backends.base import make_backend
from ffnet_search.latency.table import LatencyTable
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.provenance import git_state, versions
from ffnet_search.space.architecture import Architecture
from ffnet_search.tasks.base import task_of

NEAR = 0.1  # relative difference up to which a prediction counts as right


@dataclass(frozen=True)
class Device:
    """A device of the search. `suffix` ends the names of its metrics: "" for the first device, else "@NAME"."""

    section: LatencySection
    table: LatencyTable | None  # None where the device was not profiled
    suffix: str

    def setting(self) -> dict[str, Any]:
        """The settings of the measurement, and the error of the table."""
        if self.table is None:
            setting = self.section.model_dump(mode="json", include={"backend", "threads", "batch_size"})
            return {"device": make_backend(self.section).device_name(), **setting}
        error = self.table.error.model_dump(mode="json")
        return self.table.setting.model_dump(mode="json") | {"table_error": error}


def network_card(
    sweep: Sweep, candidate: Candidate, metrics: Mapping[str, float], devices: Sequence[Device], data: Data
) -> dict[str, Any]:
    """The card of an FFNet; `devices` are those of the search, its own first."""
    first, *others = devices
    card: dict[str, Any] = {
        "key": candidate.key,
        "summary": str(candidate.network),
        "metrics": metrics,
        "latency": first.setting(),
    }
    if others:
        card["devices"] = {device.section.name: device.setting() for device in others}
    if first.table is not None:
        card |= {f"predicted_within_10_percent{one.suffix}": _is_near(metrics, one.suffix) for one in devices}
    return card | {
        "sweep": sweep_facts(sweep),
        "data": {"name": sweep.data.name, "fingerprint": getattr(data, "fingerprint", None)},
        "hyperparameters": dict(candidate.final_hyperparameters),
        "training": dict(candidate.record) or {"seed": sweep.seed, "resolved": resolved(sweep)},
        "git": git_state(Path.cwd()),
        "input": input_facts(candidate.network, data),
        "finetune_epochs": sweep.export.finetune_epochs,
        "onnx_opset": sweep.export.opset,
        "versions": versions(),
        "date": now(),
    }


def user_module_card(sweep: Sweep, candidate: Candidate, metrics: Mapping[str, float]) -> dict[str, Any]:
    """The card of a user-supplied module."""
    return {
        "key": candidate.key,
        "metrics": metrics,
        "hyperparameters": dict(candidate.final_hyperparameters),
        "sweep": sweep_facts(sweep),
        "training": dict(candidate.record),
        "versions": versions(),
        "date": now(),
    }


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write card.json into an exported folder."""
    write_text(folder / CARD, json.dumps(card, indent=1) + "\n")


def sweep_facts(sweep: Sweep) -> dict[str, Any]:
    """The sweep that a network comes from."""
    return {"name": sweep.name, "seed": sweep.seed, "digest": sweep.digest}


def input_facts(arch: Architecture, data: Data) -> dict[str, Any]:
    """Inputs and outputs of a network: mean and deviation per channel in levels of 255, the names of the outputs."""
    facts: dict[str, Any] = {"channels": arch.input.channels, "resolution": arch.input.resolution}
    facts[task_of(arch.input).outputs_word] = list(data.outputs)
    if hasattr(data, "statistics"):
        facts["mean"], facts["std"] = (tensor_C.tolist() for tensor_C in data.statistics)
    return facts


def now() -> str:
    """The current time in UTC, to the second, as ISO 8601 has it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _is_near(metrics: Mapping[str, float], suffix: str) -> bool:
    return abs(metrics[f"predicted_ms{suffix}"] / metrics[f"measured_ms{suffix}"] - 1) <= NEAR
