"""The exported networks of a run, read from its folder: light, so that looking at a front takes no time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from ffnet_search.architecture import Architecture
from ffnet_search.errors import SweepError
from ffnet_search.sweep import RunFiles


@dataclass(frozen=True)
class Pick:
    """An exported network: where it is and what was found. Accuracies are shares, 0 to 1."""

    folder: Path
    architecture: Architecture
    metrics: Mapping[str, float]  # search_accuracy, test_accuracy, predicted_ms, measured_ms, params_m, macs_m


def read_picks(files: RunFiles) -> list[Pick]:
    """The exported front, best first; empty where nothing was exported. Raises SweepError where it is broken."""
    try:
        folders = sorted(path.parent for path in files.pareto.glob("*/card.json"))
        picks = []
        for folder in folders:
            arch = Architecture.from_dict(yaml.safe_load((folder / "architecture.yaml").read_text()))
            picks.append(Pick(folder, arch, json.loads((folder / "card.json").read_text())["metrics"]))
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise SweepError(f"{files.pareto}: cannot be read as exported networks ({error}); export again") from None
    return picks
