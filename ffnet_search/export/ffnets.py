"""FFNets as files of a front: measured together, then each judged on validation and test and written with its card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ffnet_search.config.named_metrics import named_metrics
from ffnet_search.config.retraining import retraining_of
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.modules.base import Data
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.evaluation.judge import judge, quality
from ffnet_search.evaluation.trained import TrialEvaluator
from ffnet_search.export.bundle.model_card import write_bundle
from ffnet_search.export.card import Device, network_card, output_facts, write_card
from ffnet_search.export.exported import write_scores
from ffnet_search.export.formats.quality import int8_metrics
from ffnet_search.export.network import write_details, write_network
from ffnet_search.export.picks import Pick
from ffnet_search.latency.measure import measure_all
from ffnet_search.latency.ray_bench import make_bench
from ffnet_search.latency.table import LatencyTable
from ffnet_search.metrics import FOLDS, INHERITED
from ffnet_search.models.deployed import Deployed, fuse
from ffnet_search.models.device import fastest_device
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.saved import read_supernet
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.provenance import git_state
from ffnet_search.space.cost_model import analytic_metrics
from ffnet_search.tasks.base import task_of
from ffnet_search.training.fit import sweep_data


@dataclass(frozen=True)
class _Built:
    """A pick with its networks: on the weights that the search compared, on those that are exported, and deployed."""

    pick: Pick
    folder: Path
    before: MetaMixer
    net: MetaMixer
    deployed: Deployed
    latency: Mapping[str, float]


def export_ffnets(sweep: Sweep, front: Sequence[Pick], folders: Sequence[Path]) -> Iterator[dict[str, float]]:
    """Measure the picks together; then, with each step, write the files of one into its folder, and yield its metrics:
    measured alone, on the test split."""
    data, devices = sweep_data(sweep), devices_of(sweep)
    inherited = _networks(sweep, data, [pick.candidate for pick in front])
    nets = [pick.network(sweep) or before for pick, before in zip(front, inherited, strict=True)]
    fused = [fuse(net).cpu() for net in nets]
    latencies = _latencies(fused, devices)  # in turns: one minute's disturbance must not hit a single network
    rows = zip(front, folders, inherited, nets, fused, latencies, strict=True)
    return (_written(sweep, data, devices, _Built(*row)) for row in rows)


def _written(sweep: Sweep, data: Data, devices: Sequence[Device], built: _Built) -> dict[str, float]:
    """The metrics of one network, whose files are written."""
    pick, folder, net, deployed = built.pick, built.folder, built.net, built.deployed
    task, gpu_or_cpu = task_of(net.largest.input), fastest_device()
    named = {name: task.named_metric(name, data.outputs) for name in named_metrics(sweep)}
    judged = {
        "search": judge(deployed.to(gpu_or_cpu), data.val_dataloader(), task, named),
        "test": judge(deployed.to(gpu_or_cpu), data.test_dataloader(), task, named),
    }
    metrics = {f"{split}_{name}": value for split, one in judged.items() for name, value in one.metrics().items()}
    metrics[task.search_quality] = pick.judged.metrics[task.quality.name]
    if retraining_of(sweep) is not None:
        metrics[INHERITED + task.search_quality] = pick.candidate.metrics[task.quality.name]
        before = fuse(built.before).to(gpu_or_cpu)
        metrics[INHERITED + task.test_quality] = quality(before, data.test_dataloader(), task)
    metrics |= {**built.latency, **analytic_metrics(net.largest)}
    scores = {split: one.scores for split, one in judged.items()}
    if pick.folds is not None:
        metrics |= pick.folds.metrics
        scores[FOLDS] = pick.folds.scores
    write_scores(folder, scores)
    write_network(folder, net.cpu(), deployed.cpu(), sweep.export.opset)
    if any(device.section.precision == "int8" for device in devices):
        metrics |= int8_metrics(folder, deployed, data)
    card = network_card(sweep, pick, metrics, devices, data) | {"output": output_facts(deployed)}
    card |= write_details(folder, deployed, data)
    write_card(folder, card)
    write_bundle(folder, card, task)
    return metrics


def _networks(sweep: Sweep, data: Data, front: Sequence[Candidate]) -> list[MetaMixer]:
    """The networks with the weights that the search compared: of their own trials, or of the supernet."""
    if sweep.search.evaluator == "train":
        trials = TrialEvaluator(sweep, git=git_state())
        return [trials.network(candidate) for candidate in front]
    evaluator = Evaluator(read_supernet(sweep.files.supernet, of=sweep.search_space), data)
    return [evaluator.calibrated(candidate.network) for candidate in front]


def devices_of(sweep: Sweep) -> list[Device]:
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
