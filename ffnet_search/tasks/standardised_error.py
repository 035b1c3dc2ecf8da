"""The mean absolute error of several targets, each in standard deviations of its own, so that units do not mix.

The standard deviations are those of the targets that it is measured on. Shape keys: N images, B of a batch, K targets.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from ffnet_search.tasks.ranking import standardised_error


class StandardisedError(Metric):
    """Updated with numbers (B, K) and targets (B, K)."""

    full_state_update = False
    error: list[Tensor]
    target: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("error", [], dist_reduce_fx="cat")
        self.add_state("target", [], dist_reduce_fx="cat")

    def update(self, output_BK: Tensor, target_BK: Tensor) -> None:
        self.error.append((output_BK - target_BK).detach().abs())
        self.target.append(target_BK)

    def compute(self) -> Tensor:
        error_NK, target_NK = (dim_zero_cat(one).cpu().numpy() for one in (self.error, self.target))
        return torch.tensor(standardised_error(error_NK, target_NK), device=self.device)
