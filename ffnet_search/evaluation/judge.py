"""The judgement of a network on batches of images: its quality and its scores on each image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torchmetrics import Metric as TorchMetric

from ffnet_search.metrics import IMAGES
from ffnet_search.models.deployed import Deployed
from ffnet_search.models.device import device_of, fastest_layout, in_fastest_layout
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.tasks.base import Task
from ffnet_search.tasks.scores import Scores


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
    net = net.to(memory_format=fastest_layout(device_of(net)))  # type: ignore[call-overload]
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
    device = device_of(net)
    metric, scores = task.quality_metric(outputs).to(device), []
    others = {name: one.to(device) for name, one in (named or {}).items()}
    for one in others.values():
        one.reset()
    for images_BCHW, target_B in batches:
        output_B, target_B = net(in_fastest_layout(images_BCHW.to(device))), target_B.to(device)
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
