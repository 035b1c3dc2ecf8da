"""A user-supplied task: regression of one number per output, which mixes by nature and is better the smaller."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanAbsoluteError, Metric

from ffnet_search.metrics import Metric as Quality
from ffnet_search.space.head import Head
from ffnet_search.space.input import Input
from ffnet_search.space.parts import Part
from ffnet_search.space.registry import TrunkStage, task_outputs
from ffnet_search.tasks.base import Targets, Task


class Regression(Task):
    """Numbers (B, K) against targets, float32 (B, K)."""

    name = "user_task:Regression"
    quality = Quality("mae", "minimize", "error", "mm", decimals=1)
    outputs_word = "numbers"
    head = "ffnet_search.models.heads:PooledLinear"
    head_words = "mean, linear"
    target_words = "float32 numbers"
    output_name = "numbers"
    predict_script = None
    hub_task = "image-regression"
    quality_name = "mean absolute error"

    def head_parts(self, last: TrunkStage, input: Input, head: Head) -> Iterator[Part]:
        yield from task_outputs("classification").head_parts(last, input, head)

    def loss(self, output: Tensor, target: Tensor, label_smoothing: float) -> Tensor:
        return F.mse_loss(output, target)

    def soft_target(self, output: Tensor) -> Tensor:
        return output.detach()

    def distillation_loss(self, output: Tensor, soft_target: Tensor) -> Tensor:
        return F.mse_loss(output, soft_target)

    def quality_metric(self, outputs: int) -> Metric:
        return MeanAbsoluteError()

    def accepts(self, target: Tensor) -> bool:
        return target.dtype == torch.float32 and target.ndim == 2

    def strata(self, targets_N: Targets) -> NDArray[np.int64]:
        return np.zeros(len(targets_N), np.int64)
