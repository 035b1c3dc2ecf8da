"""Sweeps of a few small networks, and the latency table of their space."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import yaml

from ffnet_search.config.sweep import Sweep
from ffnet_search.latency.table import Check, Entry, LatencyTable, Setting, TableError
from ffnet_search.space.search_space import SearchSpace

SPACE = {
    "input": {"channels": 1, "resolution": 8, "classes": 10},
    "stem": {"width": [8], "stride": [1]},
    "stages": [
        {"depth": [1], "width": [16], "token_kernel": [3, 5], "expansion": [2, 3]},
        {"depth": [1, 2], "width": [16, 32], "token_kernel": [3], "expansion": [2, 3]},
    ],
}
ONE_STAGE: dict[str, Any] = {
    "input": {"channels": 1, "resolution": 8, "classes": 10},
    "stages": [{"depth": [1, 2], "width": [16, 32], "token_kernel": [3, 5]}],
}
TINY_SWEEP: dict[str, Any] = {
    "data": {"name": "digits", "batch_size": 128, "validation": 0.25, "calibration": 128},
    "train": {"epochs": 2, "warmup_epochs": 0.5},
    "latency": {"noisy": True},  # the machine may be busy: latency is not tested here
    "search": {"trials": 6, "constraints": {"params_m": 0.2}},
    "export": {"top": 2, "formats": ["pt2"]},
}


def write_sweep(folder: Path, **changed: Any) -> Sweep:
    """A sweep over `SPACE`, whose runs are in `folder`. `changed`: its fields."""
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump({"search_space": SPACE, "runs": str(folder / "runs"), **changed}))
    return Sweep.from_yaml(file)


def table_of(space: SearchSpace, ms: float = 0.01) -> LatencyTable:
    """A table in which every part of every network takes `ms`."""
    archs = [space.build(dict(zip(space.axes(), values, strict=True))) for values in product(*space.axes().values())]
    check = Check(architecture=archs[0], predicted_ms=1, measured_ms=1, halves_ms=(1, 1), spread=0)
    return LatencyTable(
        setting=Setting(
            device="test", backend="onnxruntime", settings={}, threads=1, batch_size=1, dtype="float32", versions={},
            date="2026-01-01T00:00:00+00:00", clock="none", rounds=3, contention=1, anchors_ms=(1, 1), build_seconds=0,
        ),
        error=TableError(networks=1, mean=0, max=0, within_10=1, kendall=1, noise_floor=0),
        intercept_ms=0,
        entries={part.key: Entry(ms=ms, raw_ms=ms) for arch in archs for part in arch.parts},
        calibration=(),
        held_out=(check,),
    )  # fmt: skip


def sweep_of(folder: Path, content: dict[str, Any]) -> Sweep:
    """A sweep over `ONE_STAGE`, whose content may name another space."""
    return write_sweep(folder, **{"search_space": ONE_STAGE, **content})
