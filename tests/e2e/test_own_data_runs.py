"""Every task on a user-supplied LightningDataModule, from the profile to exported networks and the report."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import onnx
import pytest

from ffnet_search.config.sweep import Sweep
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.space.registry import TASKS
from ffnet_search.tasks.base import find_task

INPUTS: dict[str, dict[str, Any]] = {
    "classification": {"resolution": 8, "classes": 4},
    "multilabel": {"resolution": 8, "labels": 2},
    "regression": {"resolution": 8, "targets": 2},
    "segmentation": {"resolution": 8, "classes": 4},
    "super_resolution": {"resolution": 6, "scale": 2},
}
DATA = {
    "classification": ("MyData", {}),
    "multilabel": ("MyNumbers", {"task": "multilabel"}),
    "regression": ("MyNumbers", {"task": "regression"}),
    "segmentation": ("MyMasks", {}),
    "super_resolution": ("MyPhotos", {}),
}


def own_sweep(folder: Path, task: str) -> Sweep:
    name, arguments = DATA[task]
    stem = {"width": [0], "stride": [1]} if task == "super_resolution" else {"width": [8], "stride": [1]}
    head = {"head": {"width": [8], "stride": [1]}} if task == "segmentation" else {}
    stages = [{"depth": [1, 2], "width": [8, 12], "token_kernel": [3]}]
    content = {
        "name": "own",
        "runs": str(folder),
        "task": task,
        "allow_imports": True,
        "search_space": {"input": {"channels": 3, **INPUTS[task]}, "stem": stem, "stages": stages, **head},
        "data": {"name": f"user_data:{name}", "init_args": arguments, "batch_size": 16, "calibration": 32},
        "train": {"epochs": 1},
        "latency": {"noisy": True, "rounds": 3, "min_within_10": 0.0},
        "search": {"trials": 3},
        "export": {"top": 1, "retrain": {"epochs": 1}},
        "report": {"yardstick": False},
    }
    return Sweep.from_content(content, folder / "own.yaml")


def test_every_task_is_here() -> None:
    assert set(INPUTS) == set(DATA) == set(TASKS)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("task", INPUTS)
def test_a_data_module_of_the_users_is_run_to_its_report(task: str, tmp_path: Path) -> None:
    sweep = own_sweep(tmp_path, task)
    run_sweep(sweep)
    [card_file] = sweep.files.pareto.glob("*-*/card.json")
    metrics = json.loads(card_file.read_text())["metrics"]
    for name in (find_task(task).search_quality, find_task(task).test_quality):
        assert math.isfinite(metrics[name])
    onnx.checker.check_model(str(card_file.with_name("model.onnx")))
    assert (sweep.files.folder / "report.html").exists()
