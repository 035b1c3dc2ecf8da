"""Runs whose front is exported, written as files alone: of two FFNets, without weights, study or tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from networks import space

from ffnet_search.config.files import RunPaths
from ffnet_search.export.exported import read_exported, write_scores
from ffnet_search.tasks.base import find_task
from ffnet_search.tasks.scores import Scores

METRICS = {
    "search_accuracy": 0.63021,
    "search_accuracy_se": 0.03484,
    "search_images": 192,
    "test_accuracy": 0.61518,
    "test_accuracy_se": 0.01,
    "predicted_ms": 1234.5678,
    "measured_ms": 1.23456,
    "measured_spread": 0.01,
    "params_m": 12.3456,
    "macs_m": 3456.7,
    "weights_mb": 49.38,
    "peak_memory_mb": 7.0,
}
COLUMNS = "trial,key,state,feasible,origin,accuracy,latency_ms"


def written_run(folder: Path, *, faster: float = 1.0, **changed: Any) -> Path:
    """The folder of a run: `changed` fields of its sweep; `faster`: the factor on its second network's latency."""
    digits, files = space("ffnet_digits"), RunPaths(folder)
    for number, arch in enumerate((digits.largest, digits.smallest), 1):
        target = files.pareto / f"{number:02d}-{arch.key}"
        target.mkdir(parents=True)
        figures = METRICS if number == 1 else {**METRICS, "search_accuracy": 0.6, "measured_ms": 1.0 / faster}
        (target / "card.json").write_text(json.dumps({"metrics": figures}))
        (target / "architecture.yaml").write_text(yaml.safe_dump(arch.to_dict()))
        (target / "model.onnx").touch()
    files.state.write_text('{"format": 2, "stages": {}}')
    images = {"channels": 1, "resolution": 8, "classes": 10}
    content = {"search_space": {"stages": [{"depth": [1, 2], "width": [16]}], "input": images}, **changed}
    files.sweep.write_text(yaml.safe_dump(content))
    files.study.touch()
    files.candidates.write_text(f"{COLUMNS}\n0,a,evaluated,true,smallest,0.5,1.0\n1,b,failed,true,largest,,\n")
    return folder


TASK = find_task("classification")


def two_networks(folder: Path, right: tuple[int, int], images: int = 200) -> list[Path]:
    """Networks that are right on the first so many images of each split."""
    found = [network.folder for network in read_exported(written_run(folder) / "pareto")]
    for place, count in zip(found, right, strict=True):
        scores = Scores(TASK, (np.arange(images) < count).astype(np.float64)[:, None])
        write_scores(place, dict.fromkeys(("search", "folds", "test"), scores))
    return found
