"""Runs of spaces with fewer networks than a latency model can be fitted to, by the real command, to the report."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ffnet_search.latency.table import LatencyTable

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "NO_COLOR": "1"}


def command(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ffnet_search", *words], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def write(folder: Path, networks: int, **search: Any) -> None:
    widths = [8 * (number + 1) for number in range(networks)]
    stage = {"depth": [1], "width": widths, "token_kernel": [3], "expansion": 2}
    content = {
        "search_space": {
            "input": {"channels": 1, "resolution": 8, "classes": 10},
            "stem": {"width": [8], "stride": [2]},
            "stages": [stage],
        },
        "data": {"name": "digits", "batch_size": 128, "calibration": 128},
        "train": {"epochs": 2, "learning_rate": 3e-3},
        "latency": {"noisy": True, "rounds": 3},
        "search": {"trials": 20, **search},
        "export": {"retrain": {"epochs": 1}} if not search else {},
    }
    (folder / "few.yaml").write_text(yaml.safe_dump(content))


def evaluated(folder: Path) -> list[dict[str, str]]:
    with (folder / "runs/few/candidates.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["state"] == "evaluated"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("networks", [1, 2, 5])
def test_a_space_of_a_few_networks_is_run_to_its_report(networks: int, tmp_path: Path) -> None:
    write(tmp_path, networks)
    said = command(tmp_path, "check", "few.yaml")
    counted = {1: "1 architecture for", 2: "2 architectures for", 5: "5 architectures for"}[networks]
    assert counted in said and f"export: {networks} network" in said
    command(tmp_path, "profile", "few.yaml")
    run = tmp_path / "runs/few"
    [path] = (run / "latency").glob("*.json")
    measured = command(tmp_path, "show", str(path))
    whole = "the one network of the space measured" if networks == 1 else f"all {networks} networks of the space"
    assert f"error: {whole}" in measured and "0 parts" not in measured
    command(tmp_path, "run", "few.yaml")
    rows = evaluated(tmp_path)
    assert len({row["key"] for row in rows}) == len(rows) == networks
    table = LatencyTable.load(path)
    assert {one.architecture.key for one in table.held_out} == {row["key"] for row in rows}
    assert "measured again" in (run / "report.html").read_text()
    exported = sorted((run / "pareto").glob("*-*/card.json"))
    assert 1 <= len(exported) <= networks and all((card.parent / "model.onnx").exists() for card in exported)
    assert all(json.loads(card.read_text())["latency"]["table_error"]["repeated"] for card in exported)
    assert str(exported[0].parent.name) in command(tmp_path, "pick", "runs/few", "--latency-ms", "1000")
    command(tmp_path, "check", "few.yaml")


@pytest.mark.timeout(300)
def test_one_network_may_be_trained_by_itself(tmp_path: Path) -> None:
    write(tmp_path, 1, evaluator="train")
    command(tmp_path, "run", "few.yaml")
    assert len(evaluated(tmp_path)) == 1 and len(list((tmp_path / "runs/few/pareto").glob("*-*/model.onnx"))) == 1
