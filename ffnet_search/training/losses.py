"""The losses of a network's task, on outputs and targets as its head standardises them. Shape key: B batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from ffnet_search.config.named_metrics import check_weights
from ffnet_search.data.modules.base import Data
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.tasks.base import Task


@dataclass(frozen=True)
class Losses:
    """The losses of the networks in `net`, which share its head; outputs and targets are in the targets' own units."""

    net: MetaMixer
    task: Task
    label_smoothing: float
    weights_K: Tensor | None = None  # of the classes

    def on_targets(self, output_B: Tensor, target_B: Tensor) -> Tensor:
        """The loss of an output on targets."""
        standardised = self.net.head.standardised
        if self.weights_K is not None:
            weights_K = self.weights_K.to(output_B.device, non_blocking=True)
            return self.task.weighted_loss(output_B, target_B, self.label_smoothing, weights_K)
        return self.task.loss(standardised(output_B), standardised(target_B), self.label_smoothing)

    def soft_target(self, output_B: Tensor, target_B: Tensor) -> Tensor:
        """The soft target of a teacher's output, where the target counts."""
        return self.task.counting(self.task.soft_target(self.net.head.standardised(output_B)), target_B)

    def distance(self, output_B: Tensor, soft_target_B: Tensor) -> Tensor:
        """The distance of an output from a `soft_target`."""
        return self.task.distillation_loss(self.net.head.standardised(output_B), soft_target_B)


@dataclass(frozen=True)
class Distillation:
    """A network in evaluation mode that teaches another, and the share of the loss that is the distance from it.

    Held as plain data: neither the teacher's weights nor its gradients are a part of the module that it teaches."""

    teacher: nn.Module
    share: float

    @torch.no_grad()
    def output(self, x_BCHW: Tensor) -> Tensor:
        """The teacher's output (B, ...) for images, computed on their device."""
        return cast(Tensor, self.teacher.to(x_BCHW.device)(x_BCHW))


def class_weights(wanted: str | Mapping[str, float], data: Data, task: Task) -> Tensor:
    """The weight of each class (K,), whose mean over the training images, or their pixels, is 1; where an image has
    any number of them, of the images that have one beside those that have it not.

    `balanced`: every class counts the same, or as much as its absence. `auto`: by the square root of that, steadier
    where a class is rare. A mapping: as given, 1 for the others. A class that no training image has weighs 1. Raises
    SweepError as `check_weights` does."""
    check_weights(wanted, data.outputs, task.outputs_word)
    has_K, lacks_K = data.class_counts.double()
    if isinstance(wanted, str):
        often_K = (has_K if task.exclusive else has_K / lacks_K.clamp(min=1)).where(has_K > 0, 1)
        weights_K = often_K.reciprocal() if wanted == "balanced" else often_K.rsqrt()
    else:
        weights_K = torch.tensor([wanted.get(name, 1.0) for name in data.outputs], dtype=torch.float64)
    if task.exclusive:
        weights_K = weights_K * has_K.sum() / (weights_K * has_K).sum()
    return weights_K.where(has_K > 0, 1).float()
