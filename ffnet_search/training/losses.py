"""The losses of a network's task, on outputs and targets as its head standardises them. Shape key: B batch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.tasks.base import Task


@dataclass(frozen=True)
class Losses:
    """The losses of the networks in `net`, which share its head; outputs and targets are in the targets' own units."""

    net: MetaMixer
    task: Task
    label_smoothing: float

    def on_targets(self, output_B: Tensor, target_B: Tensor) -> Tensor:
        """The loss of an output on targets."""
        standardised = self.net.head.standardised
        return self.task.loss(standardised(output_B), standardised(target_B), self.label_smoothing)

    def soft_target(self, output_B: Tensor) -> Tensor:
        """The target that a teacher's output sets."""
        return self.task.soft_target(self.net.head.standardised(output_B))

    def distance(self, output_B: Tensor, soft_target_B: Tensor) -> Tensor:
        """The distance of an output from a `soft_target`."""
        return self.task.distillation_loss(self.net.head.standardised(output_B), soft_target_B)
