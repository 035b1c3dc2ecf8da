"""One supernet, one search, several devices: limits, objectives and a front on each, from the same candidates."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_sweeps import SPACE, table_of

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.latency.table import LatencyTable
from ffnet_search.metrics import LATENCY
from ffnet_search.pareto.front import pareto_front
from ffnet_search.run.folder.run_folder import RunFolder
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.run.select import select_network
from ffnet_search.run.stages import STAGES, StageState, StageStatus, plan
from ffnet_search.search.storage.study import read_candidates

QUICK = {"rounds": 3, "calibration": 4, "noisy": True}
DEVICES = [
    {"name": "server", **QUICK},
    {"name": "phone", "batch_size": 8, **QUICK},
    {"name": "board", "batch_size": 2, **QUICK},
]
SEARCH = {
    "trials": 12,
    "objectives": ["accuracy", "latency_ms", "latency_ms@phone"],
    "constraints": {"peak_memory_mb": 0.03},
}


def write_sweep(folder: Path, **changed: Any) -> Sweep:
    content = {"search_space": SPACE, "runs": str(folder / "runs"), "train": {"epochs": 1}, "latency": DEVICES}
    (folder / "tiny.yaml").write_text(yaml.safe_dump({**content, "search": SEARCH, "export": {"top": 2}, **changed}))
    return Sweep.from_yaml(folder / "tiny.yaml")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    sweep = write_sweep(tmp_path_factory.mktemp("devices"))
    run_sweep(sweep)
    return sweep


def tables(sweep: Sweep) -> dict[str, LatencyTable]:
    return {name: LatencyTable.load(sweep.files.latency / f"{name}.json") for name in ("server", "phone", "board")}


@pytest.mark.slow
def test_each_device_is_profiled_and_candidates_know_those_that_are_searched_for(sweep: Sweep) -> None:
    of = tables(sweep)
    assert {name: table.setting.batch_size for name, table in of.items()} == {"server": 1, "phone": 8, "board": 2}
    candidates = read_candidates(sweep.files.study, sweep.search_space)
    assert candidates
    for candidate in candidates:
        assert candidate.metrics["latency_ms"] == pytest.approx(of["server"].predict_ms(candidate.network))
        assert candidate.metrics["latency_ms@phone"] == pytest.approx(of["phone"].predict_ms(candidate.network))
        assert candidate.metrics["peak_memory_mb"] == pytest.approx(candidate.network.peak_memory_mb)
        assert candidate.metrics["peak_memory_mb"] <= 0.03
        assert "latency_ms@board" not in candidate.metrics
    with sweep.files.candidates.open() as file:
        assert {"latency_ms@phone", "peak_memory_mb", "weights_mb"} <= set(csv.DictReader(file).fieldnames or ())


def test_exported_networks_are_measured_on_each_device_that_is_searched_for(sweep: Sweep) -> None:
    folders = sorted(path.parent for path in sweep.files.pareto.glob("*/card.json"))
    assert folders
    front = pareto_front(read_candidates(sweep.files.study, sweep.search_space), sweep.search.directions)
    for folder in folders:
        card = json.loads((folder / "card.json").read_text())
        assert card["key"] in {candidate.key for candidate in front}
        metrics = card["metrics"]
        assert metrics["measured_ms@phone"] > metrics["measured_ms"] > 0  # eight images against one
        assert card["devices"]["phone"]["batch_size"] == 8 and card["latency"]["batch_size"] == 1
        for at in ("", "@phone"):
            near = abs(metrics[f"predicted_ms{at}"] / metrics[f"measured_ms{at}"] - 1) <= 0.1
            assert card[f"predicted_within_10_percent{at}"] == near
        assert LATENCY.format(metrics["measured_ms@phone"]) in (folder / "README.md").read_text()


def test_the_report_has_a_front_on_every_device(sweep: Sweep) -> None:
    page = sweep.files.report.read_text()
    for name in ("phone", "board"):
        assert f'<option value="latency_ms@{name}">latency on {name}</option>' in page
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found
    shown = json.loads(found[1])["candidates"]
    board = tables(sweep)["board"]
    expected = [board.predict_ms(c.network) for c in read_candidates(sweep.files.study, sweep.search_space)]
    assert shown["latency_ms@board"] == pytest.approx(expected, rel=1e-4)


def test_a_device_added_after_the_search_costs_its_profile_alone(sweep: Sweep) -> None:
    """What was searched stays; the front and the pick on it are there at once."""
    more = [*DEVICES, {"name": "camera", "batch_size": 4, **QUICK}]
    later = write_sweep(sweep.path.parent, latency=more)
    before = sweep.files.study.read_bytes()
    assert plan(later) == dict.fromkeys(STAGES, StageStatus(StageState.DONE))
    run_sweep(later)
    assert later.files.study.read_bytes() == before
    assert select_network(later.files.folder, 1e3, "camera").device == "camera"


def test_a_table_of_other_settings_is_not_taken(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path)
    sweep.files.folder.mkdir(parents=True)
    RunFolder(sweep.files).write_sweep(sweep)
    RunFolder(sweep.files).write_records({})
    for section in sweep.latency:
        table_of(sweep.search_space).save(sweep.files.latency_table(section))
    with pytest.raises(SweepError, match=r"phone\.json: must be of .*'batch_size': 8.* but is of .*'batch_size': 1"):
        run_sweep(sweep, stages=("profile",))


def test_a_metric_of_no_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=r"latency_ms@phon must name a device of latency; did you mean 'phone'\?"):
        write_sweep(tmp_path, search={"constraints": {"latency_ms@phon": 3}})
    with pytest.raises(SweepError, match=r"'latency_ms@' is not a known metric"):
        write_sweep(tmp_path, search={"constraints": {"latency_ms@": 3}})
    with pytest.raises(SweepError, match=r"'params_m@phone' is not a known metric"):
        write_sweep(tmp_path, search={"objectives": ["accuracy", "params_m@phone"]})
