"""Image classification: one class per image, cross-entropy, top-1 accuracy (paper, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ffnet_search.metrics import Metric
from ffnet_search.tasks.base import PooledTask, Targets, counts_of, within

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric as TorchMetric

    from ffnet_search.space.input import Input


class Classification(PooledTask):
    """Logits (B, K) of K classes against labels, int64 (B,); `soft_target` is their probabilities (B, K)."""

    name = "classification"
    quality = Metric("accuracy", "maximize", "accuracy", "%", scale=100.0, decimals=2, bounds=(0.0, 1.0))
    more_qualities = (
        Metric("balanced_accuracy", "maximize", "balanced accuracy", "%", 100.0, 2, bounds=(0.0, 1.0)),
        Metric("f1_macro", "maximize", "macro F1", "%", 100.0, 2, bounds=(0.0, 1.0)),
        Metric("auroc", "maximize", "area under the ROC curve", "%", 100.0, 2, bounds=(0.0, 1.0)),
        Metric("recall", "maximize", "recall", "%", 100.0, 2, bounds=(0.0, 1.0), per_class=True),
        Metric("precision", "maximize", "precision", "%", 100.0, 2, bounds=(0.0, 1.0), per_class=True),
        Metric("f1", "maximize", "F1", "%", 100.0, 2, bounds=(0.0, 1.0), per_class=True),
    )
    weighs = True
    outputs_word = "classes"
    least_outputs = 2
    target_words = "int64 labels"
    output_name = "logits"
    output_words = "their softmax is the probability of each class"
    predict_script = "predict_classification.py.txt"
    hub_task = "image-classification"
    quality_name = "top-1"
    details = "ffnet_search.export.details.classes:ClassDetails"
    each = "recall"
    each_words = "recall (the share of a class's images that is found)"

    def loss(self, output: Tensor, target: Tensor, label_smoothing: float) -> Tensor:
        from torch.nn import functional as F

        return F.cross_entropy(output, target, label_smoothing=label_smoothing)

    def class_counts(self, target: Tensor, outputs: int) -> Tensor:
        """Counts of images."""
        return counts_of(target, outputs)

    def weighted_loss(self, output: Tensor, target: Tensor, label_smoothing: float, weights_K: Tensor) -> Tensor:
        """The mean over the batch, each image weighed by its class."""
        from torch.nn import functional as F

        return F.cross_entropy(output, target, weight=weights_K, label_smoothing=label_smoothing)

    def soft_target(self, output: Tensor) -> Tensor:
        return output.detach().softmax(-1)

    def distillation_loss(self, output: Tensor, soft_target: Tensor) -> Tensor:
        """Kullback-Leibler divergence from the largest network's probabilities (BigNAS, arXiv 2003.11142)."""
        from torch.nn import functional as F

        return F.kl_div(output.log_softmax(-1), soft_target, reduction="batchmean")

    def quality_metric(self, outputs: int) -> TorchMetric:
        """The share of images whose largest logit is their label's: 0 to 1."""
        from torchmetrics.classification import MulticlassAccuracy

        return MulticlassAccuracy(outputs, average="micro", validate_args=False)  # which would wait for a GPU

    def named_metric(self, name: str, outputs: Sequence[str]) -> TorchMetric:
        from ffnet_search.tasks.class_scores import class_metric

        metric: TorchMetric = class_metric(name, outputs)
        return metric

    def scores(self, output: Tensor, target: Tensor, outputs: int) -> Tensor:
        """1 for a right label, else 0: (B, 1)."""
        return (output.argmax(-1) == target)[:, None]

    def accepts(self, target: Tensor) -> bool:
        import torch

        return target.dtype == torch.int64 and target.ndim == 1

    def mismatch(self, images: Tensor, target: Tensor, input: Input) -> str:
        inside = within(target, 0, input.outputs - 1)
        return super().mismatch(images, target, input) or ("" if inside else f"each of 0 to {input.outputs - 1}")

    def strata(self, targets_N: Targets) -> NDArray[np.int64]:
        return np.asarray(targets_N, np.int64)
