"""A convolution with batch norm, and the algebra that folds both into one convolution."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffnet_search.models.elastic import DenseConv2d, DepthwiseConv2d, ElasticBatchNorm2d
from ffnet_search.space.architecture import Form


class ConvNorm(nn.Module):
    """A convolution without bias, then batch norm. Attribute names are those of the reference's state dict."""

    def __init__(self, conv: DenseConv2d | DepthwiseConv2d) -> None:
        super().__init__()
        self.c = conv
        self.bn = ElasticBatchNorm2d(conv.out_channels)

    def forward(self, x_BCHW: Tensor, *sizes: int) -> Tensor:
        return cast(Tensor, self.bn(self.c(x_BCHW, *sizes)))

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of one convolution with the same output, by the running statistics."""
        scale, shift = affine(self.bn)
        return self.c.weight * scale[:, None, None, None], shift


class Branches(nn.Module):
    """k x k depthwise + BN beside 3 x 3 depthwise + BN (reference: RepVGGDW), merged for deployment.

    A sub-network with a smaller kernel keeps the 3 x 3 branch whole, at k = 3 too: the form of a slot never changes.
    """

    def __init__(self, width: int, kernel: int, multiplier: int, stride: int) -> None:
        super().__init__()
        self.conv = ConvNorm(DepthwiseConv2d(width, kernel, multiplier, stride))
        self.conv1 = ConvNorm(DepthwiseConv2d(width, 3, multiplier, stride))

    def forward(self, x_BCHW: Tensor, kernel: int) -> Tensor:
        return cast(Tensor, self.conv(x_BCHW, kernel) + self.conv1(x_BCHW))

    def folded(self) -> tuple[Tensor, Tensor]:
        weight, bias = self.conv.folded()
        small, small_bias = self.conv1.folded()
        margin = (weight.shape[-1] - 3) // 2
        return weight + F.pad(small, (margin,) * 4), bias + small_bias


def depthwise(
    width: int, kernel: int, form: Form, *, multiplier: int = 1, stride: int = 1, norm_at_3: bool = True
) -> ConvNorm | Branches | DepthwiseConv2d:
    """A depthwise convolution in the given form. `norm_at_3`: 3 x 3 has BN in the reference, not a bias."""
    if form.branches == "all" or (form.branches == "reference" and kernel >= 5):
        return Branches(width, kernel, multiplier, stride)
    if form.branches == "none" or norm_at_3:
        return ConvNorm(DepthwiseConv2d(width, kernel, multiplier, stride))
    return DepthwiseConv2d(width, kernel, multiplier, stride, bias=True)


def folded(module: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of one convolution with the same output as a module of this file."""
    if isinstance(module, ConvNorm | Branches):
        return module.folded()
    if isinstance(module, nn.Conv2d):
        bias = module.bias if module.bias is not None else module.weight.new_zeros(module.out_channels)
        return module.weight, bias
    raise TypeError(f"{type(module).__name__} is not a convolution")


def affine(bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Batch norm in evaluation as `scale * x + shift`, (C,) each."""
    assert bn.running_mean is not None and bn.running_var is not None
    scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)
    return scale, bn.bias - scale * bn.running_mean


def as_conv(
    weight: Tensor, bias: Tensor | None, *, stride: int = 1, groups: int = 1, scale: Tensor | None = None
) -> nn.Conv2d:
    """A plain convolution with "same" padding; `scale`, broadcastable to (C, 1, 1), multiplies its output."""
    if scale is not None:
        weight = weight * scale.reshape(-1, 1, 1, 1)
        bias = None if bias is None else bias * scale.flatten()
    out, in_per_group, kernel, _ = weight.shape
    conv = nn.Conv2d(
        in_per_group * groups, out, kernel, stride, kernel // 2, groups=groups, bias=bias is not None, device="meta"
    )
    conv.weight = nn.Parameter(weight.detach().clone(memory_format=torch.contiguous_format))
    conv.bias = None if bias is None else nn.Parameter(bias.detach().clone())
    return conv
