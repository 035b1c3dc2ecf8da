"""FFNet-TS: the paper's network for time series (time_series_forecasting/models of the reference), one block.

Every variable is cut into patches of its own; the token mixer mixes time by large depthwise kernels, between
convolutions that mix variables and features, and the channel mixer the features of a variable and its fellows. Left
out: stages after the first, time stamps and multi-scale fusion, which no script of the reference uses, and the merging
of the two kernels of a branch, which a runtime's folding of norms leaves little of. Names are the reference's.
Shape keys: B batch, L past steps, S future steps, M variables, D features, N patches, R D times the ratio.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH, STRIDE = 4, 2  # steps of a patch, and from one to the next
SMALL_KERNEL = 5  # of the branch beside the large kernel
EPSILON = 1e-5  # of the variance of a series


class SeriesShape(NamedTuple):
    """Variables of a series, its past steps and its future ones."""

    variables: int
    past: int
    future: int

    @property
    def patches(self) -> int:
        return self.past // STRIDE


class FFNetTs(nn.Module):
    """(B, L, M) -> (B, S, M), in the units of the input: each series is standardised by its own past (RevIN, Kim et al.
    2022, without parameters), and the forecast brought back."""

    def __init__(self, shape: SeriesShape, dim: int, kernel: int, ratio: int, dropout: float) -> None:
        super().__init__()
        self.shape = shape
        self.model = _Trunk(shape, dim, kernel, ratio, dropout)

    def forward(self, x_BLM: Tensor) -> Tensor:
        mean_B1M = x_BLM.mean(1, keepdim=True)
        centred_BLM = x_BLM - mean_B1M
        spread_B1M = ((centred_BLM**2).mean(1, keepdim=True) + EPSILON).sqrt()
        y_BMS: Tensor = self.model((centred_BLM / spread_B1M).transpose(1, 2))
        return y_BMS.transpose(1, 2) * spread_B1M + mean_B1M


class _Trunk(nn.Module):
    """(B, M, L) -> (B, M, S)."""

    def __init__(self, shape: SeriesShape, dim: int, kernel: int, ratio: int, dropout: float) -> None:
        super().__init__()
        patches = nn.Sequential(nn.Conv1d(1, dim, PATCH, STRIDE), nn.BatchNorm1d(dim))
        self.downsample_layers = nn.ModuleList([patches])
        self.stages = nn.ModuleList([_Stage(shape.variables, dim, kernel, ratio, dropout)])
        self.head = _Head(dim * shape.patches, shape.future)

    def forward(self, x_BML: Tensor) -> Tensor:
        batch, variables, past = x_BML.shape
        padded_BML = torch.cat([x_BML, x_BML[:, :, -1:].expand(-1, -1, PATCH - STRIDE)], 2)
        x_BDN = self.downsample_layers[0](padded_BML.reshape(batch * variables, 1, past + PATCH - STRIDE))
        x_BMDN = x_BDN.reshape(batch, variables, x_BDN.shape[1], x_BDN.shape[2])
        y_BMS: Tensor = self.head(self.stages[0](x_BMDN))
        return y_BMS


class _Stage(nn.Module):
    def __init__(self, variables: int, dim: int, kernel: int, ratio: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([_Block(variables, dim, kernel, ratio, dropout)])

    def forward(self, x_BMDN: Tensor) -> Tensor:
        y_BMDN: Tensor = self.blocks[0](x_BMDN)
        return y_BMDN


class _Block(nn.Module):
    def __init__(self, variables: int, dim: int, kernel: int, ratio: int, dropout: float) -> None:
        super().__init__()
        self.token_mixer = _TokenMixer(variables, dim, kernel)
        self.channel_mixer = _ChannelMixer(variables, dim, kernel, ratio, dropout)

    def forward(self, x_BMDN: Tensor) -> Tensor:
        x_BMDN = x_BMDN + self.token_mixer(x_BMDN)
        return x_BMDN + self.channel_mixer(x_BMDN)


class _TokenMixer(nn.Module):
    """1x1 over the variables of each feature, 1x1 over the features of each variable, then two large kernels."""

    def __init__(self, variables: int, dim: int, kernel: int) -> None:
        super().__init__()
        channels = variables * dim
        self.ffnpw1 = nn.Conv1d(channels, 2 * channels, 1, groups=dim)
        self.ffnpw2 = nn.Conv1d(2 * channels, channels, 1, groups=variables)
        self.norm = nn.BatchNorm1d(dim)
        self.dw1 = _depthwise(channels, kernel)
        self.dw2 = _depthwise(channels, kernel)
        self.drop1, self.drop2 = nn.Dropout(0.3), nn.Dropout(0.15)  # as the reference has them in every script

    def forward(self, x_BMDN: Tensor) -> Tensor:
        y_BDMN = F.gelu(self.drop1(self.ffnpw1(_by_feature(x_BMDN))))
        y_BMDN = _split(y_BDMN, x_BMDN.shape[2]).transpose(1, 2)  # 2 M rows, two of each variable
        y_BMDN = _split(self.drop2(self.ffnpw2(y_BMDN.flatten(1, 2))), x_BMDN.shape[1])
        y_BMDN = _normed(self.norm, y_BMDN)
        return _split(self.dw2(F.gelu(self.dw1(y_BMDN.flatten(1, 2)))), x_BMDN.shape[1])


class _ChannelMixer(nn.Module):
    """A large and a small kernel side by side, 1x1 over the features of each variable, 1x1 back over the variables."""

    def __init__(self, variables: int, dim: int, kernel: int, ratio: int, dropout: float) -> None:
        super().__init__()
        channels = variables * dim
        self.dw = _TwoKernels(channels, kernel)
        self.norm = nn.BatchNorm1d(dim)
        self.ffnpw1 = nn.Conv1d(channels, ratio * channels, 1, groups=variables)
        self.ffnpw2 = nn.Conv1d(ratio * channels, channels, 1, groups=dim)
        self.drop1, self.drop2 = nn.Dropout(dropout), nn.Dropout(0.15)

    def forward(self, x_BMDN: Tensor) -> Tensor:
        variables, dim = x_BMDN.shape[1:3]
        y_BMDN = _normed(self.norm, _split(self.dw(x_BMDN.flatten(1, 2)), variables))
        y_BMRN = _split(F.gelu(self.drop1(self.ffnpw1(y_BMDN.flatten(1, 2)))), variables)
        return _split(self.drop2(self.ffnpw2(_by_feature(y_BMRN))), dim).transpose(1, 2)


class _TwoKernels(nn.Module):
    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.lkb_origin = _normed_depthwise(channels, kernel)
        self.small_conv = _normed_depthwise(channels, SMALL_KERNEL)

    def forward(self, x_BCN: Tensor) -> Tensor:
        y_BCN: Tensor = self.lkb_origin(x_BCN) + self.small_conv(x_BCN)
        return y_BCN


class _Head(nn.Module):
    """One linear layer for all variables: (B, M, D, N) -> (B, M, S). Dropout behind it, of forecasts, only made
    training noisy (docs/log/tasks.md)."""

    def __init__(self, features: int, future: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, future)

    def forward(self, x_BMDN: Tensor) -> Tensor:
        y_BMS: Tensor = self.linear(x_BMDN.flatten(2))
        return y_BMS


def _depthwise(channels: int, kernel: int, *, bias: bool = True) -> nn.Conv1d:
    return nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=bias)


def _normed_depthwise(channels: int, kernel: int) -> nn.Sequential:
    both = nn.Sequential()
    both.add_module("conv", _depthwise(channels, kernel, bias=False))
    both.add_module("bn", nn.BatchNorm1d(channels))
    return both


def _by_feature(x_BMDN: Tensor) -> Tensor:
    """(B, M, D, N) -> (B, D M, N): the variables of a feature side by side."""
    return x_BMDN.transpose(1, 2).flatten(1, 2)


def _split(x_BCN: Tensor, count: int) -> Tensor:
    """(B, C, N) -> (B, count, C / count, N)."""
    return x_BCN.unflatten(1, (count, -1))


def _normed(norm: nn.BatchNorm1d, x_BMDN: Tensor) -> Tensor:
    """A norm of each feature, over all variables alike."""
    y_BMDN: Tensor = norm(x_BMDN.flatten(0, 1)).unflatten(0, x_BMDN.shape[:2])
    return y_BMDN
