"""The mean average precision, from the outputs for all images: batches have too few of a rare label.

torchmetrics has it too, but warns of each label that no image has. Here, as for the classes of masks, the targets alone
decide which labels count. Shape keys: N images, B of a batch, K labels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from ffnet_search.tasks.ranking import average_precision


class MeanAveragePrecision(Metric):
    """Updated with logits or probabilities (B, K) and targets (B, K) of 0 and 1; 0 if no image has a label."""

    full_state_update = False
    output: list[Tensor]
    has: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("output", [], dist_reduce_fx="cat")
        self.add_state("has", [], dist_reduce_fx="cat")

    def update(self, output_BK: Tensor, target_BK: Tensor) -> None:
        self.output.append(output_BK.detach().float())
        self.has.append(target_BK > 0.5)

    def compute(self) -> Tensor:
        precision_K = self.per_label()
        held_K = ~precision_K.isnan()
        return precision_K[held_K].mean() if held_K.any() else precision_K.new_zeros(())

    def per_label(self) -> Tensor:
        """The average precision of each label, float32 (K,); not a number where no image has it."""
        output_NK, has_NK = dim_zero_cat(self.output), dim_zero_cat(self.has)
        precision_K = average_precision(output_NK.cpu().numpy(), has_NK.cpu().numpy())
        return torch.from_numpy(precision_K).to(output_NK.device, torch.float32)
