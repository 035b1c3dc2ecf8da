"""Quality metrics of a classification beside accuracy, by torchmetrics: they average over classes, not images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassAUROC, MulticlassF1Score


class ClassScore(Metric):
    """Recall, precision or F1 of one class; 0 if the class is neither there nor predicted."""

    full_state_update = False
    counts_3: Tensor

    def __init__(self, kind: str, index: int) -> None:
        super().__init__()
        self.kind, self.index = kind, index
        self.add_state("counts_3", torch.zeros(3, dtype=torch.int64), dist_reduce_fx="sum")  # right, found, there

    def update(self, output_BK: Tensor, target_B: Tensor) -> None:
        found_B, there_B = output_BK.argmax(-1) == self.index, target_B == self.index
        self.counts_3 += torch.stack([(found_B & there_B).sum(), found_B.sum(), there_B.sum()])

    def compute(self) -> Tensor:
        right, found, there = self.counts_3.double()
        most = {"recall": there, "precision": found, "f1": (found + there) / 2}[self.kind]
        return right / most.clamp(min=0.5)


class Auroc(MulticlassAUROC):
    """The mean over classes of the area under the curve of true against false positives, of logits."""

    def update(self, preds: Tensor, target: Tensor) -> None:
        super().update(preds.softmax(-1), target)


def class_metric(name: str, classes: Sequence[str]) -> Any:
    """The torchmetrics.Metric of a name such as `f1_macro` or `recall@defect`. Raises KeyError for another name, or a
    class that is none of `classes`."""
    kind, separator, wanted = name.partition("@")
    if separator:
        return ClassScore(kind, {one: index for index, one in enumerate(classes)}[wanted])
    kinds = {
        "balanced_accuracy": lambda: MulticlassAccuracy(len(classes), average="macro", validate_args=False),
        "f1_macro": lambda: MulticlassF1Score(len(classes), average="macro", validate_args=False),
        "auroc": lambda: Auroc(len(classes), average="macro", validate_args=False),
    }
    return kinds[name]()
