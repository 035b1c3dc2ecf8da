"""Heads: from the maps of a MetaMixer's stages to the output of its task.

A head is a module made as `Head(widths, outputs)` from the stages' widths, which a task names by import path. It is
elastic: it runs on as many channels as enter. `deploy(norm)` gives the modules of its parts, with the last norm folded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from ffnet_search.models.elastic import affine
from ffnet_search.space.parts import PooledLinearPart


class PooledLinear(nn.Linear):
    """The mean over the last map, then a linear layer: (B, C, H, W) -> (B, K). Names are the reference's."""

    def __init__(self, widths: Sequence[int], outputs: int) -> None:
        super().__init__(widths[-1], outputs)

    def forward(self, last_BCHW: Tensor) -> Tensor:
        mean_BC = last_BCHW.mean((2, 3))
        return F.linear(mean_BC, self.weight[:, : mean_BC.shape[1]], self.bias)

    def deploy(self, norm: nn.BatchNorm2d) -> list[nn.Module]:
        """Mean and norm commute, so the norm goes into the linear layer."""
        scale, shift = affine(norm)
        linear = nn.Linear(self.in_features, self.out_features, device="meta")
        linear.weight = nn.Parameter((self.weight * scale).detach())
        linear.bias = nn.Parameter((self.bias + self.weight @ shift).detach())
        return [DeployedPooledLinear(linear)]

    @classmethod
    def deployed_part(cls, part: PooledLinearPart) -> nn.Module:
        return DeployedPooledLinear(nn.Linear(part.in_width, part.out_width))


class DeployedPooledLinear(nn.Module):
    """The mean over a map, then a linear layer: (B, C, H, W) -> (B, K)."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return cast(Tensor, self.linear(x_BCHW.mean((2, 3))))
