"""Shipped sweeps and search spaces: digests, keys, costs. Integers, text and their sums, equal to the last bit."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from goldens.sweeps import ROOT

from ffnet_search import Architecture, SearchSpace, Sweep
from ffnet_search.run.stages import STAGES, stages_of


def digests(folder: Path) -> Any:
    """The digest of every stage of every shipped sweep."""
    found = {}
    for path in sorted((ROOT / "sweeps").glob("*.yaml")):
        sweep = Sweep.from_yaml(path)
        needed = [stage.name for stage in stages_of(sweep)]
        found[path.name] = {"stages": needed, **{name: stage.digest(sweep) for name, stage in STAGES.items()}}
    return found


def architectures(folder: Path) -> Any:
    """Size, extremes, presets and 100 samples of every shipped space: key -> summary and costs."""
    found: dict[str, Any] = {}
    for path in sorted((ROOT / "search_spaces").glob("*.yaml")):
        space, rng = SearchSpace.from_yaml(path), random.Random(0)
        samples = [space.sample(rng) for _ in range(100)]
        named = {"smallest": space.smallest, "largest": space.largest, **space.presets}
        assert len({arch.key for arch in samples}) == 100
        found[path.name] = {
            "size": space.size,
            "costs": "key -> summary, macs_m, params_m, weights_mb, peak_memory_mb",
            "named": {name: {arch.key: costs(arch)} for name, arch in named.items()},
            "samples": {arch.key: costs(arch) for arch in samples},
        }
    presets = (Architecture.preset(f"ffnet_{number}") for number in (1, 2, 3, 4))
    found["presets"] = {arch.key: costs(arch) for arch in presets}
    return found


def costs(arch: Architecture) -> list[Any]:
    assert Architecture.from_dict(json.loads(json.dumps(arch.to_dict()))) == arch
    return [str(arch), arch.macs_m, arch.params_m, arch.weights_mb, arch.peak_memory_mb]
