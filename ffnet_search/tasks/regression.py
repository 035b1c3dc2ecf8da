"""Regression: numbers for an image, smooth L1 of standardised targets, mean absolute error (MAE) in the target's unit.

Networks give numbers in the targets' own units, in every form: the head holds the mean and the spread of the training
targets, and its deployed form is one linear layer. Losses are of standardised values, and so is the quality of several
targets, which count alike then; a single one has its error in its unit. Shape keys: B batch, N images of a set, K
targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ffnet_search.metrics import Metric
from ffnet_search.tasks.base import PooledTask, Targets, is_float_matrix, shape_mismatch
from ffnet_search.tasks.ranking import standardised_error

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric as TorchMetric

    from ffnet_search.space.input import Input

STRATA = 10  # groups of a split at most, from the smallest to the largest numbers
STRATUM = 20  # images of each of them, at least


class Regression(PooledTask):
    """Numbers (B, K) against targets, float32 (B, K); `soft_target` is the numbers of the largest network."""

    name = "regression"
    quality = Metric("mae", "minimize", "MAE")
    cuts = False  # a count, a weight or an angle is no share of the area
    whole = True
    outputs_word = "targets"
    standardises = True
    head = "ffnet_search.models.heads:StandardisedLinear"
    target_words = "float32 numbers (B, targets)"
    output_name = "numbers"
    output_words = "the targets in their own units"
    predict_script = "predict_regression.py.txt"
    hub_task = "image-regression"
    quality_name = "mean absolute error"
    details = "ffnet_search.export.details.outputs:NumberDetails"
    each = "mae"
    each_words = "mean absolute error"

    def loss(self, output: Tensor, target: Tensor, label_smoothing: float) -> Tensor:
        from torch.nn import functional as F

        return F.smooth_l1_loss(output, target)

    def soft_target(self, output: Tensor) -> Tensor:
        return output.detach()

    def distillation_loss(self, output: Tensor, soft_target: Tensor) -> Tensor:
        from torch.nn import functional as F

        return F.mse_loss(output, soft_target)

    def quality_metric(self, outputs: int) -> TorchMetric:
        """The mean over images, in the unit of the target; of several, each in its standard deviations."""
        from torchmetrics import MeanAbsoluteError

        from ffnet_search.tasks.standardised_error import StandardisedError

        return MeanAbsoluteError() if outputs == 1 else StandardisedError()

    def quality_note(self, outputs: int) -> str:
        words = f"MAE is the mean over {outputs} targets of the error of each in its standard deviations"
        return words if outputs > 1 else ""

    def scores(self, output: Tensor, target: Tensor, outputs: int) -> Tensor:
        """The absolute errors of each image and, where they are several, the targets: (B, 1) or (B, 2 K)."""
        import torch

        error_BK = (output - target).abs()
        return error_BK if outputs == 1 else torch.cat([error_BK, target], 1)

    def quality_from(self, scores_NS: NDArray[np.float64]) -> float:
        if scores_NS.shape[1] == 1:
            return float(scores_NS.mean())
        error_NK, target_NK = np.split(scores_NS, 2, axis=1)
        return standardised_error(error_NK, target_NK)

    @property
    def is_mean(self) -> bool:
        """True: of one target; the scores of several are more."""
        return True

    def accepts(self, target: Tensor) -> bool:
        return is_float_matrix(target)

    def mismatch(self, images: Tensor, target: Tensor, input: Input) -> str:
        fits = bool(target.isfinite().all())
        return shape_mismatch(target, len(images), input.outputs) or ("" if fits else "all of them finite")

    def strata(self, targets_N: Targets) -> NDArray[np.int64]:
        """The group in which an image lies by the sum of its standardised targets: a tenth, or less of few images."""
        targets_NK = np.asarray(targets_N, np.float64)
        spread_K = targets_NK.std(0)
        sum_N = ((targets_NK - targets_NK.mean(0)) / np.where(spread_K > 0, spread_K, 1)).sum(1)
        place_N = sum_N.argsort(kind="stable").argsort()
        groups = min(STRATA, max(1, len(place_N) // STRATUM))
        return (place_N * groups // len(place_N)).astype(np.int64)

    def difference(self, output: NDArray[Any], expected: NDArray[Any]) -> float:
        """The largest difference, in units of a target's largest number where that is beyond 1."""
        return float((np.abs(output - expected) / np.abs(expected).max(0).clip(min=1)).max())
