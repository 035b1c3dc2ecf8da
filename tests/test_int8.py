"""Networks of 8 bits as what is searched: what is timed, where it is recorded, and what becomes of the quality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from exported import write_run
from latency_spaces import DIGITS, TINY
from small_sweeps import TINY_SWEEP, write_sweep

from ffnet_search.cli.app import app
from ffnet_search.config.inputs import profile_inputs
from ffnet_search.config.sweep import Sweep
from ffnet_search.export.exported import read_exported
from ffnet_search.export.formats.quality import int8_metrics
from ffnet_search.export.network import load_deployed
from ffnet_search.latency.jobs import network_job
from ffnet_search.latency.table import LatencyTable
from ffnet_search.metrics import find_metric
from ffnet_search.models.deployed import deployed
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.tasks.base import find_task
from ffnet_search.training.fit import sweep_data


def int8(sweep: Sweep) -> Sweep:
    return sweep.model_copy(update={"latency": (sweep.latency[0].model_copy(update={"precision": "int8"}),)})


def test_a_model_of_eight_bits_computes_nearly_what_the_network_does() -> None:
    torch.manual_seed(0)
    net = deployed(DIGITS.smallest)
    model = network_job(DIGITS.smallest, 0, net).model(2, precision="int8")
    content, images_BCHW = model.onnx(17), np.random.default_rng(1).standard_normal((2, 1, 8, 8)).astype(np.float32)
    kinds = {one.data_type for one in onnx.load_from_string(content).graph.initializer if len(one.dims) == 4}
    assert kinds == {onnx.TensorProto.INT8}
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected_BK = net(torch.from_numpy(images_BCHW)).numpy()
    error_BK = session.run(None, {"images": images_BCHW})[0] - expected_BK
    assert 0 < np.abs(error_BK).max() < 0.25 * np.abs(expected_BK).max()


def test_files_of_both_precisions_are_kept_apart(tmp_path: Path) -> None:
    job = network_job(TINY.smallest, 0)
    contents = {precision: job.model(1, tmp_path, precision).onnx(17) for precision in ("float32", "int8")}
    assert len(set(contents.values())) == len(list(tmp_path.iterdir())) == 2
    for precision, content in contents.items():
        assert job.model(1, tmp_path, precision).onnx(17) == content


def test_the_precision_is_an_input_of_the_profile_and_names_its_table(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path)
    small = int8(sweep)
    assert small.latency_path.name == "onnxruntime-int8-t1-b1.json" != sweep.latency_path.name
    assert profile_inputs(small)["latency"]["precision"] == "int8"
    assert "precision" not in profile_inputs(sweep)["latency"]  # digests of earlier runs stay


@pytest.mark.slow
def test_a_search_of_eight_bits_ends_with_their_quality(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    latency = {"rounds": 3, "calibration": 4, "noisy": True, "min_within_10": 0, "precision": "int8"}
    export = {"top": 1, "retrain": {"epochs": 0}}
    sweep = write_sweep(tmp_path, **TINY_SWEEP | {"latency": latency, "export": export})
    [network] = run_sweep(sweep)
    table = LatencyTable.load(sweep.latency_path)
    assert (table.setting.dtype, table.name) == ("int8", sweep.latency_path.stem)
    card = network.read_card()
    assert card["latency"]["dtype"] == "int8" and card["formats"].keys() == {"int8"}
    session = onnxruntime.InferenceSession(network.folder / "model.int8.onnx", providers=["CPUExecutionProvider"])
    right = images = 0
    for images_BCHW, label_B in sweep_data(sweep).test_dataloader():
        right += int((session.run(None, {"images": images_BCHW.numpy()})[0].argmax(1) == label_B.numpy()).sum())
        images += len(label_B)
    assert network.metrics["int8_test_accuracy"] == pytest.approx(right / images)
    app(["pick", str(sweep.files.folder), "--latency-ms", "1000"], standalone_mode=False)
    assert f"with 8 bits: accuracy {100 * network.metrics['int8_search_accuracy']:.2f} %" in capsys.readouterr().err


def test_an_exported_network_has_the_quality_of_its_eight_bits(tmp_path: Path) -> None:
    sweep = write_run(tmp_path)
    data, network = sweep_data(sweep), read_exported(sweep.files.pareto)[0]
    metrics = int8_metrics(network.folder, load_deployed(network.folder), data)
    assert metrics.keys() == {"int8_search_accuracy", "int8_test_accuracy"}
    assert all(0 <= value <= 1 for value in metrics.values())
    assert (network.folder / "model.int8.onnx").exists()
    metric = find_metric("int8_test_accuracy", [find_task("classification").quality])
    assert metric.label == "int8 accuracy on test, %" and metric.format(0.5) == "50.00 %"
