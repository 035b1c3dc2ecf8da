"""FFNets of a front as files: architecture, weights, ONNX, card, model card and script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from ffnet_search.config.sweep import Sweep
from ffnet_search.data.datamodule import Data
from ffnet_search.evaluation.inherited import Evaluator, quality
from ffnet_search.evaluation.trained import TrialEvaluator
from ffnet_search.export.card import Device, network_card, write_bundle, write_card
from ffnet_search.export.network import write_network
from ffnet_search.latency.measure import measure_all
from ffnet_search.latency.ray_bench import make_bench
from ffnet_search.latency.table import LatencyTable
from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.deployed import Deployed, fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.provenance import git_state
from ffnet_search.space.cost_model import analytic_metrics
from ffnet_search.tasks.base import task_of
from ffnet_search.training.fit import read_supernet, sweep_data, train_architecture

FINETUNE_RATE = 0.1  # of the supernet's learning rate: the weights are good, and need to adapt to one network only


def export_ffnets(sweep: Sweep, front: Sequence[Candidate], folders: Sequence[Path]) -> Iterator[dict[str, float]]:
    """Write the files of each candidate into its folder, and yield its metrics: measured alone, on the test split."""
    data, devices = sweep_data(sweep), _devices(sweep)
    place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    nets = _networks(sweep, data, front)
    if sweep.export.finetune_epochs:
        nets = [_finetune(sweep, data, net.to(place), one) for net, one in zip(nets, front, strict=True)]
    fused = [fuse(net).cpu() for net in nets]
    latencies = _latencies(fused, devices)  # in turns: one minute's disturbance must not hit a single network
    for candidate, folder, net, deployed, latency in zip(front, folders, nets, fused, latencies, strict=True):
        task = task_of(candidate.network.input)
        metrics = {
            task.search_quality: candidate.metrics[task.quality.name],
            task.test_quality: quality(deployed.to(place), data.test_dataloader(), task),
            **latency,
            **analytic_metrics(candidate.network),
        }
        write_network(folder, net.cpu(), deployed.cpu(), sweep.export.opset)
        card = network_card(sweep, candidate, metrics, devices, data)
        write_card(folder, card)
        write_bundle(folder, card, task)
        yield metrics


def _networks(sweep: Sweep, data: Data, front: Sequence[Candidate]) -> list[MetaMixer]:
    """The networks with the weights that the search compared: of their own trials, or of the supernet."""
    if sweep.search.evaluator == "train":
        trials = TrialEvaluator(sweep, git=git_state(Path.cwd()))
        return [trials.network(candidate) for candidate in front]
    evaluator = Evaluator(read_supernet(sweep.files.supernet), data)
    return [evaluator.calibrated(candidate.network) for candidate in front]


def _finetune(sweep: Sweep, data: Data, net: MetaMixer, candidate: Candidate) -> MetaMixer:
    """Train the network alone for some epochs, and recalibrate its BN statistics."""
    sweep = sweep.with_values(candidate.final_hyperparameters)
    recipe = sweep.train.model_copy(
        update={
            "epochs": sweep.export.finetune_epochs,
            "learning_rate": FINETUNE_RATE * sweep.train.learning_rate,
            "warmup_epochs": 0.0,
        }
    )
    folder, place = sweep.files.training / f"finetune-{candidate.key}", next(net.parameters()).device
    net = train_architecture(net, data, recipe, folder, sweep.seed).to(place)
    return recalibrate(net, data.calibration.to(place))


def _devices(sweep: Sweep) -> list[Device]:
    """The devices of the search with their latency tables, its own first."""
    devices = []
    for number, section in enumerate(sweep.searched_devices):
        table = LatencyTable.load(sweep.files.latency_table(section)) if sweep.search_space.is_elastic else None
        devices.append(Device(section, table, f"@{section.name}" if number else ""))
    return devices


def _latencies(nets: Sequence[Deployed], devices: Sequence[Device]) -> list[dict[str, float]]:
    """The latency of each network on each device: predicted, if the device was profiled, and measured."""
    latencies: list[dict[str, float]] = [{} for _ in nets]
    for device in devices:
        measurements = measure_all(nets, device.section, table=device.table, make_bench=make_bench)
        for net, measured, latency in zip(nets, measurements, latencies, strict=True):
            if device.table is not None:
                latency[f"predicted_ms{device.suffix}"] = device.table.predict_ms(net.arch)
            latency[f"measured_ms{device.suffix}"] = measured.ms
            latency[f"measured_spread{device.suffix}"] = measured.spread
    return latencies
