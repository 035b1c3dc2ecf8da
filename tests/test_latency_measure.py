"""Measuring given networks and user-supplied modules."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from latency_spaces import QUICK, TINY
from lightning import LightningModule
from synthetic_bench import SyntheticBench, milliseconds
from torch import Tensor, nn

from ffnet_search.config.schema import LatencySection
from ffnet_search.errors import SweepError
from ffnet_search.latency import bench, jobs, threads
from ffnet_search.latency.backends import ncnn
from ffnet_search.latency.jobs import network_job
from ffnet_search.latency.measure import measure_all, torch_aside
from ffnet_search.latency.module import count_macs_m, measure_module
from ffnet_search.models.deployed import deployed

SIMULATOR = LatencySection(backend="own_backend:Simulator", rounds=3)


def test_networks_take_what_the_bench_measures() -> None:
    networks = [TINY.smallest, TINY.largest]
    measured = measure_all([deployed(arch) for arch in networks], QUICK, make_bench=SyntheticBench)
    expected = [milliseconds(network_job(arch, 0)) for arch in networks]
    assert [one.ms for one in measured] == pytest.approx(expected, rel=0.03)
    assert measured[0].anchors_ms == pytest.approx((0.4, 1.6)) and measured[0].contention == 1


def test_a_network_is_traced_once_however_often_it_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    copied = []
    monkeypatch.setattr(jobs, "copy", SimpleNamespace(deepcopy=lambda net: copied.append(net) or net))
    measure_all([deployed(TINY.smallest)], QUICK)
    assert len(copied) == 1


def test_shared_cores_are_refused_only_by_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "contention", lambda threads: 1.7)
    monkeypatch.setattr(threads, "usable_cores", lambda: 2)
    nets = [deployed(TINY.smallest)]
    with pytest.raises(SweepError, match=r"wall / CPU time is 1\.7.*latency\.threads: 1.*latency\.noisy: true"):
        measure_all(nets, LatencySection(threads=2, rounds=3))
    assert measure_all(nets, LatencySection(threads=2, rounds=3, noisy=True))[0].contention == 1.7
    assert measure_all(nets, LatencySection(threads=1, rounds=3))[0].ms > 0


def test_more_threads_than_cores_are_refused_before_anything_is_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: 2)
    shape, many = TINY.smallest.input, LatencySection(threads=64)
    with pytest.raises(
        SweepError, match=r"latency\.threads must be at most 2, .* but is 64, .*; lower it, .*noisy: true"
    ):
        bench.LocalBench(many, shape)
    for _ in range(2):
        bench.LocalBench(many.model_copy(update={"noisy": True}), shape)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith(
        "warning, accepted by latency.noisy: latency.threads must be at most 2"
    )
    bench.LocalBench(LatencySection(threads=2), shape)
    device = {"command": ["true"], "device": "phone"}  # which times its networks by itself
    bench.LocalBench(LatencySection(backend="command", threads=64, init_args=device), shape)
    assert not capsys.readouterr().err


def test_a_backend_changes_a_copy_of_the_network() -> None:
    net = deployed(TINY.smallest)
    assert measure_all([net], SIMULATOR.model_copy(update={"backend": "own_backend:HalfPrecision"}))[0].ms > 0
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}


class Regressor(LightningModule):
    """A user-supplied module that is no image network."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(20, 30), nn.Dropout(), nn.Linear(30, 1))

    def forward(self, x_BF: Tensor) -> Tensor:
        return self.layers(x_BF)  # type: ignore[no-any-return]


def test_a_user_supplied_module_is_measured_against_the_anchors() -> None:
    measured = measure_module(Regressor(), (4, 20), SIMULATOR)
    assert measured.ms == pytest.approx(0.01 + (20 * 30 + 30 + 30 + 1) / 1e6)
    assert len(measured.anchors_ms) == 2 and measured.spread == 0


def test_a_user_supplied_module_keeps_its_mode_and_its_weights() -> None:
    module = Regressor()
    weight = module.layers[0].weight
    assert measure_module(module, (1, 20), QUICK).ms > 0
    assert module.training and module.layers[0].weight is weight and weight.requires_grad


def test_a_module_that_cannot_be_copied_is_one_sentence() -> None:
    module = Regressor()
    module.last = module(torch.ones(1, 20))
    with pytest.raises(SweepError, match=r"Regressor must be a module that copy\.deepcopy can copy.*detach them"):
        measure_module(module, (1, 20), SIMULATOR)


@pytest.mark.parametrize("shape", [(), (0, 20)])
def test_an_example_without_a_batch_is_one_sentence(shape: tuple[int, ...]) -> None:
    with pytest.raises(SweepError, match=r"Regressor must have an example_input_array with a batch .* its shape is \("):
        measure_module(Regressor(), shape, SIMULATOR)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo one >&2; echo two >&2; exit 3", "ended with 3: two"),
        ("exit 0", "ended with 0: nothing on its error output"),
        ("exec sleep 9", "did not end within 0.2 s"),
    ],
)
def test_a_converter_that_fails_is_one_sentence(
    script: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "pnnx"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setitem(sys.modules, "pnnx", SimpleNamespace(EXEC_PATH=str(program)))
    monkeypatch.setattr(ncnn, "TIMEOUT_S", 0.2 if "sleep" in script else 60)
    with pytest.raises(SweepError, match=f"ncnn: pnnx must convert the network, but {problem}; use another"):
        ncnn.ncnn_files(nn.Identity(), (1, 2, 2))


def test_macs_of_a_module_are_counted() -> None:
    assert count_macs_m(Regressor().eval(), (4, 20)) == pytest.approx(4 * (20 * 30 + 30) / 1e6)
    assert count_macs_m(nn.ReLU(), (1, 2)) > 0, "a mix of no anchor would divide by zero"


def test_torch_is_put_aside_and_restored() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch_aside():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
