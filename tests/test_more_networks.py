"""Networks beside the front of a finished run, by the real command: one more by its key, one that is taken out of the
run, and a module of the user's to compare with."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny_sweep import TINY

from ffnet_search.export.network import load
from ffnet_search.files.bounded import read_json
from ffnet_search.formatting import figure

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "NO_COLOR": "1"}
CONTENT = {
    "search_space": TINY,
    "allow_imports": True,
    "data": {"name": "digits", "batch_size": 128, "calibration": 128},
    "train": {"epochs": 2, "learning_rate": 3e-3},
    "latency": {"noisy": True, "rounds": 3, "calibration": 4, "min_within_10": 0.0},
    "search": {"trials": 8, "objectives": ["accuracy", "latency_ms"], "sampler": {"class_path": "RandomSampler"}},
    "export": {"top": 1, "retrain": {"epochs": 1}},
    "report": {"baselines": [{"class_path": "own_baseline:Linear", "init_args": {"side": 2}}]},
}


def command(folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "ffnet_search", *words], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The current folder, with a finished run of `tiny.yaml`, of whose networks one is exported."""
    folder = tmp_path_factory.mktemp("more")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(CONTENT))
    command(folder, "run", "tiny.yaml", "--quiet")
    return folder


def keys_not_exported(folder: Path) -> list[str]:
    exported = {path.name.partition("-")[2] for path in (folder / "runs/tiny/pareto").glob("*-*")}
    with (folder / "runs/tiny/candidates.csv").open() as file:
        return [
            row["key"] for row in csv.DictReader(file) if row["state"] == "evaluated" and row["key"] not in exported
        ]


@pytest.mark.slow
def test_a_baseline_is_judged_and_timed_beside_the_front(folder: Path) -> None:
    yardstick = folder / "runs/tiny/yardstick"
    card = json.loads((yardstick / "baseline1-Linear/card.json").read_text())
    assert card["metrics"]["params_m"] == pytest.approx((2 * 2 * 10 + 10) / 1e6)
    assert 0 < card["metrics"]["test_accuracy"] < 0.5 and card["metrics"]["measured_ms"] > 0
    gains = {gain["by_hand"]: gain for gain in read_json(yardstick / "gains.json")}
    assert gains["baseline1-Linear"]["quality"] == card["metrics"]["test_accuracy"]
    assert "baseline1-Linear" in (folder / "runs/tiny/report.html").read_text()
    assert "baseline1-Linear" in command(folder, "show", "runs/tiny").stdout


@pytest.mark.slow
def test_one_more_network_is_exported_by_its_key_and_stays(folder: Path) -> None:
    key = keys_not_exported(folder)[0]
    derived = [folder / "runs/tiny" / name for name in ("yardstick/gains.json", "report.html", "front.png")]
    for path in derived:
        path.unlink()
    place = Path(command(folder, "export", "runs/tiny", "--key", key).stdout.strip())
    assert place.name == f"02-{key}" and load(folder / place).classes == tuple("0123456789")
    assert all(path.exists() for path in derived) and place.name in derived[1].read_text()
    card = json.loads((folder / place / "card.json").read_text())
    assert {"test_accuracy", "inherited_test_accuracy", "test_accuracy_se"} <= card["metrics"].keys()  # retrained too
    assert "exported already" in command(folder, "export", "runs/tiny", "--key", key).stderr
    command(folder, "export", "tiny.yaml")
    assert (folder / place / "model.onnx").exists()
    assert "has no evaluated network" in command(folder, "export", "runs/tiny", "--key", "0" * 12, code=2).stderr


@pytest.mark.slow
def test_the_best_network_for_a_budget_is_taken_out_of_the_run(folder: Path) -> None:
    before = sorted((folder / "runs/tiny/pareto").glob("*-*"))
    command(folder, "pick", "runs/tiny", "--latency-ms", "1e9", "--export", "mine")
    refused = command(folder, "pick", "runs/tiny", "--latency-ms", "0", "--export", "none", code=2).stderr
    assert "but 0 ms were asked for" in refused
    assert (folder / "mine/predict.py").exists() and not (folder / "none").exists()
    assert sorted((folder / "runs/tiny/pareto").glob("*-*")) == before
    assert (
        "must be new or empty"
        in command(folder, "pick", "runs/tiny", "--latency-ms", "1e9", "--export", "mine", code=2).stderr
    )


@pytest.mark.slow
def test_the_best_network_within_a_latency_in_a_format(folder: Path) -> None:
    """As README says: written by one command, and answered by the next."""
    pick = ["pick", "runs/tiny", "--format", "onnx", "--latency-ms"]
    unwritten = command(folder, *pick, "100", code=2).stderr
    assert "was timed as onnx; write them with `ffnet-search export runs/tiny --format onnx`" in unwritten
    command(folder, "export", "runs/tiny", "--format", "onnx", "--quiet")
    cards = {path.parent: json.loads(path.read_text()) for path in (folder / "runs/tiny/pareto").glob("*/card.json")}
    times = {place: card["formats"]["onnx"]["latency_ms"] for place, card in cards.items()}
    done = command(folder, *pick, "100")
    model = folder / done.stdout.strip()
    best = max(card["metrics"]["search_accuracy"] for card in cards.values())
    assert model.name == "model.onnx" and cards[model.parent]["metrics"]["search_accuracy"] == best
    assert f"{figure(times[model.parent])} ms as onnx (measured)" in done.stderr and "± " in done.stderr
    document = json.loads(command(folder, *pick, "100", "--json").stdout)
    assert (document["format"], folder / document["file"]) == ("onnx", model)
    assert document["latency_ms"] == times[model.parent]
    slow = command(folder, *pick, "1e-6", code=2).stderr
    assert f"of {len(cards)} exported networks the fastest takes {figure(min(times.values()))} ms as onnx" in slow
    for place, card in cards.items():
        (place / "card.json").write_text(json.dumps({**card, "formats": {"coreml": {"files": ["model.mlpackage"]}}}))
    assert "are not run here" in command(folder, *pick, "100", "--format", "coreml", code=2).stderr
    assert "did you mean 'onnx'?" in command(folder, *pick, "100", "--format", "onyx", code=2).stderr
    assert "remove one" in command(folder, *pick, "100", "--device", "laptop", code=2).stderr
