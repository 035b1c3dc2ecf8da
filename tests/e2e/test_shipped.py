"""The sweep over networks and what they are trained with, as it is shipped but shorter, from start to end."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from ffnet_search.config.sweep import Sweep
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.run.rerun import rerun

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
    html = sweep.files.report.read_text()
    assert f"Stopped early: {states['stopped']} trials" in html
    assert f"{states['evaluated']} networks were trained to the end" in html
    for row in rows.values():
        assert (row["momentum"] != "") == (row["optimizer"] == "sgd")
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
