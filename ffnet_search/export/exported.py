"""The exported networks of a run, read from its folder: light, so that looking at a front takes no time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ffnet_search.config.run_paths import RunPaths
from ffnet_search.errors import SweepError
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.configuration import Value


@dataclass(frozen=True)
class ExportedNetwork:
    """An exported network: where it is and what was found. Accuracies are shares, 0 to 1."""

    folder: Path
    architecture: Architecture | None  # None where it is a module of the user's own
    metrics: Mapping[str, float]  # search_accuracy, test_accuracy, predicted_ms, measured_ms, params_m, macs_m
    hyperparameters: Mapping[str, Value] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.folder.name.partition("-")[2]

    @property
    def network(self) -> Architecture:
        """The architecture, for those who need one. Raises SweepError where it has none."""
        if self.architecture is None:
            raise SweepError(f"{self.folder}: is no FFNet, but a module of your own; load its model.ckpt with that")
        return self.architecture


def read_exported(files: RunPaths) -> list[ExportedNetwork]:
    """The exported front, best first; empty where nothing was exported. Raises SweepError where it is broken."""
    try:
        folders = sorted(path.parent for path in files.pareto.glob("*/card.json"))
        picks = []
        for folder in folders:
            path, arch = folder / "architecture.yaml", None
            card = json.loads((folder / "card.json").read_text())
            if path.exists():
                arch = Architecture.from_dict(yaml.safe_load(path.read_text()))
            picks.append(ExportedNetwork(folder, arch, card["metrics"], card.get("hyperparameters", {})))
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise SweepError(f"{files.pareto}: cannot be read as exported networks ({error}); export again") from None
    return picks
