"""A user-supplied token mixer, as in `docs/block.md`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffnet_search.models.mixers import TokenMixer
from ffnet_search.space.architecture import Form
from ffnet_search.space.mixers import Costs


class Blur(TokenMixer):
    """The mean of k x k neighbours."""

    def __init__(self, width: int, kernel: int, form: Form) -> None:
        super().__init__()
        self.width = width

    def forward(self, x_BCHW: Tensor, kernel: int) -> Tensor:
        return F.avg_pool2d(x_BCHW, kernel, 1, kernel // 2, count_include_pad=False)

    def deploy(self, kernel: int, layer_scale: Tensor | None) -> nn.Module:
        return DeployedBlur(kernel, torch.ones(self.width) if layer_scale is None else layer_scale.flatten())

    @staticmethod
    def costs(width: int, kernel: int, pixels: int) -> Costs:
        return Costs(params=width, macs=0, memory=3 * width * pixels)  # the input, its mean, and that scaled


class DeployedBlur(nn.Module):
    """The mean of k x k neighbours, scaled per channel."""

    def __init__(self, kernel: int, scale_C: Tensor) -> None:
        super().__init__()
        self.kernel, self.scale_C = kernel, nn.Parameter(scale_C.detach().clone())

    def forward(self, x_BCHW: Tensor) -> Tensor:
        mean_BCHW = F.avg_pool2d(x_BCHW, self.kernel, 1, self.kernel // 2, count_include_pad=False)
        return mean_BCHW * self.scale_C[:, None, None]


class Shapeless(TokenMixer):
    """A mixer that lacks costs."""

    def forward(self, x_BCHW: Tensor, kernel: int) -> Tensor:
        return x_BCHW


class NoMixer(nn.Module):
    """A module that is no mixer."""
