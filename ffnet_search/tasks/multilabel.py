"""Multi-label classification: any number of labels per image, binary cross-entropy, mean average precision (mAP).

Shape keys: B batch, N images of a set, K labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ffnet_search.metrics import Metric
from ffnet_search.tasks.base import PooledTask, Targets, is_float_matrix, shape_mismatch, within
from ffnet_search.tasks.ranking import average_precision

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric as TorchMetric

    from ffnet_search.space.input import Input


class MultiLabel(PooledTask):
    """Logits (B, K) of K labels against which of them an image has, 0 or 1, float32 (B, K).

    `soft_target` is the probabilities (B, K) of the largest network."""

    name = "multilabel"
    quality = Metric("map", "maximize", "mAP", "%", scale=100.0, decimals=2, bounds=(0.0, 1.0))
    weighs = True
    exclusive = False
    whole = True
    outputs_word = "labels"
    target_words = "float32 targets (B, labels) of 0 and 1"
    output_name = "logits"
    output_words = "the sigmoid of each is the probability of its label"
    predict_script = "predict_multilabel.py.txt"
    hub_task = "image-classification"
    quality_name = "mAP"
    details = "ffnet_search.export.details.outputs:LabelDetails"
    each = "average_precision"
    each_words = "average precision"

    def loss(self, output: Tensor, target: Tensor, label_smoothing: float) -> Tensor:
        """The mean over images and labels; a smoothed target is drawn towards 1/2."""
        from torch.nn import functional as F

        return F.binary_cross_entropy_with_logits(output, (1 - label_smoothing) * target + 0.5 * label_smoothing)

    def class_counts(self, target: Tensor, outputs: int) -> Tensor:
        """Counts of images."""
        import torch

        has_K = (target > 0.5).sum(0)
        return torch.stack([has_K, len(target) - has_K])

    def weighted_loss(self, output: Tensor, target: Tensor, label_smoothing: float, weights_K: Tensor) -> Tensor:
        """The loss with the images that have a label weighed beside those that have it not."""
        from torch.nn import functional as F

        smooth_BK = (1 - label_smoothing) * target + 0.5 * label_smoothing
        return F.binary_cross_entropy_with_logits(output, smooth_BK, pos_weight=weights_K)

    def soft_target(self, output: Tensor) -> Tensor:
        return output.detach().sigmoid()

    def distillation_loss(self, output: Tensor, soft_target: Tensor) -> Tensor:
        """Cross-entropy with the largest network's probabilities: their entropy, a constant, beside the divergence."""
        from torch.nn import functional as F

        return F.binary_cross_entropy_with_logits(output, soft_target)

    def quality_metric(self, outputs: int) -> TorchMetric:
        """The mean over labels of average precision, of the labels that some image has."""
        from ffnet_search.tasks.average_precision import MeanAveragePrecision

        return MeanAveragePrecision()

    def scores(self, output: Tensor, target: Tensor, outputs: int) -> Tensor:
        """The outputs of an image, and which labels it has: (B, 2 K)."""
        import torch

        return torch.cat([output.float(), (target > 0.5).float()], 1)

    def quality_from(self, scores_NS: NDArray[np.float64]) -> float:
        """The mean average precision of the labels that some image has; 0 if none has one."""
        output_NK, has_NK = np.split(scores_NS, 2, axis=1)
        precision_K = average_precision(output_NK, has_NK > 0.5)
        held_K = ~np.isnan(precision_K)
        return float(precision_K[held_K].mean()) if held_K.any() else 0.0

    def accepts(self, target: Tensor) -> bool:
        return is_float_matrix(target)

    def mismatch(self, images: Tensor, target: Tensor, input: Input) -> str:
        fits = within(target, 0, 1)
        return shape_mismatch(target, len(images), input.outputs) or ("" if fits else "and nothing beyond")

    def strata(self, targets_N: Targets) -> NDArray[np.int64]:
        """The rarest label that an image has, from 1 on; 0 if it has none."""
        has_NK = np.asarray(targets_N) > 0.5
        images_NK = np.where(has_NK, has_NK.sum(0), len(has_NK) + 1)
        return np.where(has_NK.any(1), images_NK.argmin(1) + 1, 0).astype(np.int64)
