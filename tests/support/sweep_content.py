"""The content of a tiny sweep, and what a change makes of it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from ffnet_search.config.sweep import Sweep
from ffnet_search.run.stages import STAGES

TINY: dict[str, Any] = {
    "name": "tiny",
    "search_space": {
        "input": {"channels": 1, "resolution": 8, "classes": 10},
        "stages": [{"depth": [1, 2], "width": [16, 32], "token_kernel": [3, 5]}],
    },
}


def with_change(path: str, value: Any) -> dict[str, Any]:
    """`TINY` with the value at a dotted path set; `path` may name sections that are not there."""
    data = copy.deepcopy(TINY)
    place: Any = data
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps:
        place = place[step] if isinstance(step, int) else place.setdefault(step, {})
    place[last] = value
    return data


def digests(sweep: Sweep) -> dict[str, str]:
    return {name: stage.digest(sweep) for name, stage in STAGES.items()}


def load(folder: Path, data: Any) -> Sweep:
    file = folder / "tiny.yaml"
    file.write_text(data if isinstance(data, str) else yaml.safe_dump(data))
    return Sweep.from_yaml(file)
