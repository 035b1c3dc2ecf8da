"""Evaluator "supernet": configuration -> Candidate on the supernet's weights.

A sub-network is sliced, its BN recalibrated, fused, and scored on the images that the search holds out of training.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torchmetrics import Metric as TorchMetric

from ffnet_search.config.named_metrics import named_metrics
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.datamodule import Data
from ffnet_search.metrics import IMAGES
from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.cpu_threads import threads_for
from ffnet_search.models.deployed import Deployed, fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.saved import read_supernet
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.base import Task, task_of
from ffnet_search.tasks.scores import Scores
from ffnet_search.training.fit import sweep_data


class Evaluator:
    """Scores sub-networks of a trained supernet by the task's quality.

    >>> evaluate = Evaluator(read_supernet(path), data)  # doctest: +SKIP
    >>> evaluate(Configuration(space.smallest)).metrics["accuracy"]  # doctest: +SKIP"""

    def __init__(self, net: MetaMixer, data: Data, named: Sequence[str] = ()) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.net, self.task = net.to(self.device), task_of(net.largest.input)
        self.named = {name: self.task.named_metric(name, data.outputs) for name in named}
        self.calibration_NCHW = self._place(data.calibration)
        self.batches = [
            (self._place(images_BCHW), target_B.to(self.device)) for images_BCHW, target_B in data.val_dataloader()
        ]

    @classmethod
    def from_sweep(cls, sweep: Sweep, supernet: Path | None = None) -> Evaluator:
        """Make the evaluator of a run's supernet (or of that in another file) and data.

        Raises SweepError if one of them is missing or broken."""
        net = read_supernet(supernet or sweep.files.supernet, of=sweep.search_space)
        return cls(net, sweep_data(sweep), named_metrics(sweep))

    def __call__(self, configuration: Configuration, report: object = None) -> Candidate:
        """Score a configuration; there is no epoch to `report`.

        Raises ValueError if the architecture is not in the supernet."""
        arch = configuration.architecture
        assert arch is not None
        with threads_for(1e6 * arch.macs_m * len(self.batches[0][0])):
            judged = judge(fuse(self.calibrated(arch)), self.batches, self.task, self.named)
        return Candidate(arch, {**judged.metrics(), "params_m": arch.params_m, "macs_m": arch.macs_m})

    def calibrated(self, arch: Architecture) -> MetaMixer:
        """The sub-network as a separate network, with recalibrated BN statistics."""
        net = self.net.slice_to(arch).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return recalibrate(net, self.calibration_NCHW)

    def _place(self, images_NCHW: Tensor) -> Tensor:
        return images_NCHW.to(self.device).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Judged:
    """The quality of a network on a split, by the task's metric, and its scores on each image."""

    quality: float
    scores: Scores
    others: Mapping[str, float] = field(default_factory=dict)  # other qualities, by name

    def metrics(self, prefix: str = "") -> dict[str, float]:
        """The quality, its standard error (left out where a single image gives none) and the number of images:
        `accuracy`, `accuracy_se`, `images`."""
        task, error = self.scores.task, self.scores.error
        metrics = {task.quality.name: self.quality}
        if math.isfinite(error):
            metrics[task.quality_error] = error
        metrics |= {IMAGES.name: float(self.scores.images), **self.others}
        return {f"{prefix}{name}": value for name, value in metrics.items()}


def judge(
    net: Deployed | MetaMixer,
    batches: Iterable[tuple[Tensor, Tensor]],
    task: Task,
    named: Mapping[str, TorchMetric] | None = None,
) -> Judged:
    """Judge `net` on batches of (images, targets), in the mode (training or evaluation) that it is in. `named`: other
    qualities than the task's own, by name.

    Raises ValueError if there are no batches."""
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    arch = net.arch if isinstance(net, Deployed) else net.largest
    return judge_module(net, batches, task, arch.input.outputs, named)


@torch.inference_mode()
def judge_module(
    net: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    task: Task,
    outputs: int,
    named: Mapping[str, TorchMetric] | None = None,
) -> Judged:
    """Judge any module with so many outputs, as `judge` does."""
    device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
    metric, scores = task.quality_metric(outputs).to(device), []
    others = {name: one.to(device) for name, one in (named or {}).items()}
    for one in others.values():
        one.reset()
    for images_BCHW, target_B in batches:
        output_B, target_B = net(images_BCHW.to(device)), target_B.to(device)
        for one in (metric, *others.values()):
            one.update(output_B, target_B)
        scores.append(task.scores(output_B, target_B, outputs))  # on the device, which is not waited for
    if not scores:
        raise ValueError("quality needs at least one batch of images, but got none")
    values = {name: float(one.compute()) for name, one in others.items()}
    return Judged(float(metric.compute()), Scores.gathered(task, (one.cpu().numpy() for one in scores)), values)


def quality(net: Deployed | MetaMixer, batches: Iterable[tuple[Tensor, Tensor]], task: Task) -> float:
    """The quality alone, of `judge`."""
    return judge(net, batches, task).quality
