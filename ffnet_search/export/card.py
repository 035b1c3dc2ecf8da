"""The card of an exported network: its figures, how they were measured, and where the network comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ffnet_search.atomic_write import write_json
from ffnet_search.config.retraining import retraining_of
from ffnet_search.config.schema import DataSection, LatencySection
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.modules.base import Data
from ffnet_search.data.registry import data_folder
from ffnet_search.evaluation.trained import resolved
from ffnet_search.export.exported import CARD
from ffnet_search.export.picks import Pick
from ffnet_search.latency.backends.base import make_backend
from ffnet_search.latency.table import LatencyTable
from ffnet_search.models.deployed import Deployed
from ffnet_search.models.saved import read_start
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.provenance import git_state, now, versions
from ffnet_search.space.architecture import Architecture
from ffnet_search.tasks.base import task_of

PREDICTION_TOLERANCE = 0.1  # relative difference up to which a prediction counts as right


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
    sweep: Sweep, pick: Pick, metrics: Mapping[str, float], devices: Sequence[Device], data: Data
) -> dict[str, Any]:
    """The card of an FFNet; `devices` are those of the search, its own first."""
    candidate, (first, *others) = pick.candidate, devices
    card: dict[str, Any] = {"key": candidate.key, "summary": str(candidate.network), "metrics": metrics}
    card["latency"] = first.setting()
    if others:
        card["devices"] = {device.section.name: device.setting() for device in others}
    if first.table is not None:
        for device in devices:
            ratio = metrics[f"predicted_ms{device.suffix}"] / metrics[f"measured_ms{device.suffix}"]
            card[f"predicted_within_10_percent{device.suffix}"] = abs(ratio - 1) <= PREDICTION_TOLERANCE
    return card | {
        "sweep": {"name": sweep.name, "seed": sweep.seed, "digest": sweep.digest},
        "data": _data(sweep.data, data),
        "hyperparameters": dict(candidate.final_hyperparameters),
        "training": dict(candidate.record) or {"seed": sweep.seed, "resolved": resolved(sweep), **_start(sweep)},
        "git": git_state(),
        "input": input_facts(candidate.network, data),
        "retraining": _retraining(sweep, pick),
        **({} if pick.folds is None else {"folds": {"count": sweep.export.folds, "epochs": sweep.train.epochs}}),
        "onnx_opset": sweep.export.opset,
        "versions": versions(),
        "date": now("seconds"),
    }


def _data(section: DataSection, data: Data) -> dict[str, Any]:
    """The kind of data set, the folder by its name alone, and the fingerprint of the images."""
    folder = data_folder(section)
    own = {} if folder is None else {"folder": folder}
    return {"name": section.name, **own, "fingerprint": getattr(data, "fingerprint", None)}


def _start(sweep: Sweep) -> dict[str, Any]:
    """The weights that the supernet started from, if any."""
    start = read_start(sweep.files.supernet) if sweep.train.start_from is not None else None
    return {} if start is None else {"start": dict(start)}


def _retraining(sweep: Sweep, pick: Pick) -> dict[str, Any] | None:
    """The retraining of a network, as plain data; None if it was not retrained, or failed."""
    retraining = retraining_of(sweep)
    if retraining is None or pick.retrained is None:
        return None
    return {
        "epochs": pick.retrained.record["epochs"],
        "rate": retraining.rate,
        "distil": retraining.distil,
        "from": "inherited" if retraining.is_inherited else "scratch",
        "kept": pick.is_better,  # else the weights from before are better on search validation, and exported
        **{name: pick.retrained.record[name] for name in ("seed", "resolved")},
    }


def user_module_card(sweep: Sweep, candidate: Candidate, metrics: Mapping[str, float]) -> dict[str, Any]:
    """The card of a user-supplied module."""
    return {
        "key": candidate.key,
        "metrics": metrics,
        "hyperparameters": dict(candidate.final_hyperparameters),
        "sweep": {"name": sweep.name, "seed": sweep.seed, "digest": sweep.digest},
        "training": dict(candidate.record),
        "versions": versions(),
        "date": now("seconds"),
    }


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write card.json into an exported folder."""
    write_json(folder / CARD, card)


def output_facts(fused: Deployed) -> dict[str, Any]:
    """The output of a network: its name in `model.onnx`, its type, and its shape for one image."""
    input = fused.arch.input
    with torch.inference_mode():
        output = fused(torch.zeros(1, *input.shape))
    dtype = str(output.dtype).removeprefix("torch.")
    return {"name": task_of(input).output_name, "dtype": dtype, "shape": list(output.shape[1:])}


def input_facts(arch: Architecture, data: Data) -> dict[str, Any]:
    """Inputs and outputs of a network: mean and deviation per channel in levels of 255, the names of the outputs."""
    task, shape = task_of(arch.input), arch.input.to_dict()
    facts: dict[str, Any] = {"channels": shape["channels"], "resolution": shape["resolution"]}
    facts[task.outputs_word] = list(data.outputs) if task.names_outputs else arch.input.outputs
    if hasattr(data, "statistics"):
        facts["mean"], facts["std"] = (tensor_C.tolist() for tensor_C in data.statistics)
    return facts
