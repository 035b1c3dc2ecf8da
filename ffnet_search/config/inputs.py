"""The inputs of each stage as plain data: all that its output depends on.

If they change, the output is outdated. Fields that only set the amount or the speed of the work are left out: more
trials continue a study.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ffnet_search.files.secrets import without_secrets
from ffnet_search.space.registry import DEFAULT_TASK
from ffnet_search.strict_yaml import Section

if TYPE_CHECKING:
    from ffnet_search.config.schema import LatencySection
    from ffnet_search.config.sweep import Sweep

Inputs = dict[str, Any]
# Fields that change how fast a stage is, or how much it makes, and not what comes out.
SPEED: Mapping[str, Any] = {
    "data": {"workers", "download", "path", "in_memory_mb", "unreadable"},
    "train": {"checkpoint_minutes", "devices", "minutes"},
    "latency": {"noisy", "min_within_10", "name"},
    "search": {
        "engine",
        "resources",
        "workers",
        "wait_minutes",
        "trial_minutes",
        "minutes",
        "trials",
        "early_stopping",
        "storage",
        "loggers",
    },
    "export": {"top": True, "retrain": {"candidates"}, "folds": True, "formats": True},
}


def profile_inputs(sweep: Sweep) -> Inputs:
    """The inputs of the latency tables that the search reads."""
    devices = {device.name: _device(device) for device in sweep.searched_devices}
    latency = devices.pop(sweep.latency[0].name)
    if devices:
        latency["others"] = devices
    return {**_space_inputs(sweep), "latency": latency}


def train_inputs(sweep: Sweep) -> Inputs:
    """The inputs of the supernet."""
    data, train = _plain(sweep.data, "data"), _plain(sweep.train, "train")
    return {**_space_inputs(sweep), "seed": sweep.seed, "data": data, "train": train}


def search_inputs(sweep: Sweep) -> Inputs:
    """The inputs of the study."""
    inputs = {**train_inputs(sweep), **profile_inputs(sweep), "search": _plain(sweep.search, "search")}
    if sweep.search_space.hyperparameters:
        inputs["hyperparameters"] = [  # a list: their order matters
            {"name": name} | one.model_dump(mode="json", exclude_defaults=True)
            for name, one in sweep.search_space.hyperparameters.items()
        ]
    if sweep.module:
        inputs["module"] = without_secrets(sweep.module.model_dump(mode="json"))
    return inputs


def retrain_inputs(sweep: Sweep) -> Inputs:
    """The inputs of one retrained network, beside its configuration and the supernet's weights."""
    return {**train_inputs(sweep), "retrain": _plain(sweep.export, "export")["retrain"]}


def fold_inputs(sweep: Sweep) -> Inputs:
    """The inputs of the cross-validation of one network, beside its configuration."""
    return {**train_inputs(sweep), "folds": sweep.export.folds}


def export_inputs(sweep: Sweep) -> Inputs:
    """The inputs of the exported front and of the report."""
    return {**search_inputs(sweep), "export": _plain(sweep.export, "export")}


def digest(inputs: Mapping[str, Any] | Sequence[Any]) -> str:
    """16 hexadecimal digits of inputs, which are plain data."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def _plain(section: Section, name: str, *, exclude_none: bool = False) -> Inputs:
    inputs: Inputs = without_secrets(section.model_dump(mode="json", exclude=SPEED[name], exclude_none=exclude_none))
    if "loggers" in inputs:  # of training: they change nothing; digests from before have the field
        inputs["loggers"] = []
    return inputs


def _device(section: LatencySection) -> Inputs:
    inputs = _plain(section, "latency", exclude_none=True)
    return {name: value for name, value in inputs.items() if (name, value) != ("precision", "float32")}


def _space_inputs(sweep: Sweep) -> Inputs:
    space = sweep.search_space.model_dump(mode="json", exclude={"name", "hyperparameters"}, exclude_none=True)
    task = {} if sweep.task == DEFAULT_TASK else {"task": sweep.task}
    return {"search_space": space, **task}
