"""Sweeps as they are shipped but shorter, from start to end."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from image_data import photo_patches, write_cifar
from masks import write_masks
from photos import write_photos
from tables import write_table

from ffnet_search.config.sweep import Sweep
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.run.rerun import rerun
from ffnet_search.tasks.base import find_task

ROOT = Path(__file__).parents[2]


def test_digits_hpo(tmp_path: Path) -> None:
    content: dict[str, Any] = yaml.safe_load((ROOT / "sweeps" / "digits_hpo.yaml").read_text())
    content["runs"] = str(tmp_path / "runs")
    content["train"]["epochs"] = 5
    content["search"]["trials"] = 14
    content["latency"]["rounds"] = 3
    path = tmp_path / "digits_hpo.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    sweep = Sweep.from_yaml(path)
    picks = run_sweep(sweep)
    with sweep.files.candidates.open(newline="") as file:
        rows = {row["key"]: row for row in csv.DictReader(file)}
    states = Counter(row["state"] for row in rows.values())
    assert states["evaluated"] + states["stopped"] == 14 and states["stopped"] >= 3
    html = sweep.files.report.read_text().replace("&nbsp;", " ")
    assert f"Stopped early: {states['stopped']} trials" in html
    assert f"{states['evaluated']} networks were trained to the end" in html
    for row in rows.values():
        assert (row["momentum"] != "") == (row["optimizer"] in ("muon", "sgd"))
        assert (row["stopped"] != "") == (row["state"] == "stopped")
    assert 1 <= len(picks) <= 4
    for pick in picks:
        assert rows[pick.key]["state"] == "evaluated"
        assert {name for name, value in rows[pick.key].items() if value} >= pick.hyperparameters.keys()
        card = json.loads((pick.folder / "card.json").read_text())
        assert card["training"]["resolved"]["train"]["learning_rate"] == pick.hyperparameters["learning_rate"]
        assert "learning_rate" in html and (pick.folder / "model.onnx").exists()
    stopped = next(key for key, row in rows.items() if row["state"] == "stopped")
    for key in (picks[0].key, stopped):
        again = rerun(sweep.files.folder, key)
        assert "accuracy" in again.metrics and all(then == now for then, now in again.metrics.values())


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "engine"), [("regress", "ray"), ("multilabel", "tune"), ("segment", "local")])
def test_other_tasks(name: str, engine: str, tmp_path: Path) -> None:
    """On shapes to count, to name and to outline: a front whose networks have their quality and their details."""
    path = ROOT / "sweeps" / f"{name}.yaml"
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    content["search_space"]["input"]["resolution"] = 32
    if name == "segment":
        content["data"]["path"] = str(write_masks(tmp_path / "data", 60))
    else:
        content["data"]["path"] = str(write_table(tmp_path / "data", content["task"], 100, tests=20))
    if name == "regress":
        content["data"]["columns"] = ["discs"]
    content["runs"] = str(tmp_path / "runs")
    content["train"]["epochs"] = 4
    content["latency"] |= {"rounds": 3, "calibration": 8, "min_within_10": 0.0}
    content["search"] |= {"trials": 12, "engine": engine}
    content["export"] = {"top": 3, "retrain": {"epochs": 2}}
    shorter = tmp_path / f"{name}.yaml"
    shorter.write_text(yaml.safe_dump(content, sort_keys=False))
    sweep = Sweep.from_yaml(shorter)
    task, picks = find_task(sweep.task), run_sweep(sweep)
    assert 1 <= len(picks) <= 3
    best_first = [task.quality.sign * pick.metrics[task.search_quality] for pick in picks]
    assert best_first == sorted(best_first)
    for pick in picks:
        assert {task.test_quality, f"inherited_{task.test_quality}", "measured_ms"} <= pick.metrics.keys()
        details = pick.read_card()["details"]
        assert task.each in details and (pick.folder / details["worst"]).exists()
        assert (pick.folder / "predict.py").exists()
    html = sweep.files.report.read_text()
    assert f"Which {task.outputs_word} are hard?" in html and task.quality.word in html
    assert [pick.key for pick in run_sweep(sweep)] == [pick.key for pick in picks]  # nothing is left to do


@pytest.mark.timeout(900)
def test_cifar_cpu(tmp_path: Path) -> None:
    """On patches of photographs, in CIFAR's layout: a front of retrained networks, each with its latency."""
    path = ROOT / "sweeps" / "cifar_cpu.yaml"
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    content["search_space"] = str(ROOT / "search_spaces" / "cifar_cpu.yaml")
    content["runs"] = str(tmp_path / "runs")
    content["data"] |= {"path": str(write_cifar(tmp_path, photo_patches()[:360], 10)), "calibration": 64}
    content["data"] |= {"batch_size": 64, "download": False}
    content["train"]["epochs"] = 2
    content["latency"] |= {"rounds": 3, "calibration": 8, "min_within_10": 0.0}
    content["search"] = {"trials": 6, "objectives": content["search"]["objectives"]}  # by this process, not by Ray
    content["export"] = {"top": 3, "retrain": {"epochs": 1}}
    shorter = tmp_path / "cifar_cpu.yaml"
    shorter.write_text(yaml.safe_dump(content, sort_keys=False))
    sweep = Sweep.from_yaml(shorter)
    picks = run_sweep(sweep)
    assert 1 <= len(picks) <= 3
    for pick in picks:
        assert {"test_accuracy", "inherited_test_accuracy", "measured_ms"} <= pick.metrics.keys()
    assert [pick.key for pick in run_sweep(sweep)] == [pick.key for pick in picks]  # nothing is left to do


@pytest.mark.timeout(900)
@pytest.mark.parametrize("engine", ["local", "tune"])
def test_super_resolution(engine: str, tmp_path: Path) -> None:
    """On small photos: networks beside bicubic interpolation, by this process and on workers of Ray."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "sweeps" / "super_resolution.yaml").read_text())
    content["search_space"]["input"]["resolution"] = [12, 16]
    content["runs"] = str(tmp_path / "runs")
    content["data"] |= {"path": str(write_photos(tmp_path / "data", 24)), "patch": 12, "patches": 4, "batch_size": 8}
    content["train"]["epochs"] = 2
    content["latency"] |= {"rounds": 3, "calibration": 8, "min_within_10": 0.0}
    content["search"] |= {"trials": 6, "engine": engine}
    content["export"] = {"top": 2, "retrain": {"epochs": 1}}
    shorter = tmp_path / "photos.yaml"
    shorter.write_text(yaml.safe_dump(content, sort_keys=False))
    sweep = Sweep.from_yaml(shorter)
    picks = run_sweep(sweep)
    assert 1 <= len(picks) <= 2
    for pick in picks:
        assert {"test_psnr_y", "inherited_test_psnr_y", "measured_ms"} <= pick.metrics.keys()
        assert pick.read_card()["details"]["bicubic_psnr_y"] > 5 and (pick.folder / "predict.py").exists()
    assert "by bicubic interpolation, by the network" in sweep.files.report.read_text()
    assert [pick.key for pick in run_sweep(sweep)] == [pick.key for pick in picks]  # nothing is left to do
