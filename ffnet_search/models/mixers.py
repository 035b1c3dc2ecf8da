"""Token mixers: the values of the `mixer` axis (arXiv 2406.02021, figure 1: query, interaction, activation, values).

Each class has a training form here (elastic: `forward(x, kernel)` runs on as many channels as enter) and says by
`deploy` what it becomes. A new mixer is a class with these two methods, and a row in
`parts.MIXERS` that names it; nothing else knows them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffnet_search.models.elastic import DenseConv2d, DepthwiseConv2d, ElasticBatchNorm2d, PointwiseConv2d
from ffnet_search.space.architecture import Form
from ffnet_search.space.parts import HEAD_DIM, MIXERS


class TokenMixer(Protocol):
    """What a mixer class offers. `width` and `kernel` are the largest that it has to hold."""

    def __init__(self, width: int, kernel: int, form: Form) -> None: ...

    def __call__(self, x_BCHW: Tensor, kernel: int) -> Tensor: ...

    def deploy(self, kernel: int, layer_scale: Tensor | None) -> nn.Module:
        """The same function at its largest size: norms folded, branches merged, output scaled by `layer_scale`."""
        ...


def make_mixer(name: str, width: int, kernel: int, form: Form) -> nn.Module:
    """The training form of a mixer of `parts.MIXERS`."""
    module, _, attribute = MIXERS[name].module.partition(":")
    return cast(nn.Module, getattr(import_module(module), attribute)(width, kernel, form))


class ConvNorm(nn.Module):
    """A convolution without bias, then batch norm. Attribute names are those of the reference's state dict."""

    def __init__(self, conv: PointwiseConv2d | DepthwiseConv2d | DenseConv2d) -> None:
        super().__init__()
        self.c = conv
        self.bn = ElasticBatchNorm2d(conv.out_channels)

    def forward(self, x_BCHW: Tensor, *sizes: int) -> Tensor:
        return cast(Tensor, self.bn(self.c(x_BCHW, *sizes)))

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one convolution that this is, by the running statistics."""
        scale, shift = affine(self.bn)
        return self.c.weight * scale[:, None, None, None], shift


class Branches(nn.Module):
    """k x k depthwise + BN beside 3 x 3 depthwise + BN (reference: RepVGGDW), merged for deployment.

    A sub-network with a smaller kernel keeps the 3 x 3 branch whole, at k = 3 too: the form of a slot never changes.
    """

    def __init__(self, width: int, kernel: int, multiplier: int = 1, stride: int = 1) -> None:
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


def depthwise(width: int, kernel: int, form: Form, *, norm_at_3: bool) -> ConvNorm | Branches | DepthwiseConv2d:
    """A depthwise convolution in the given form. `norm_at_3`: 3 x 3 has BN in the reference, not a bias."""
    if form.branches == "all" or (form.branches == "reference" and kernel >= 5):
        return Branches(width, kernel)
    if form.branches == "none" or norm_at_3:
        return ConvNorm(DepthwiseConv2d(width, kernel))
    return DepthwiseConv2d(width, kernel, bias=True)


def folded(module: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of the one convolution that a module of this file amounts to."""
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


class FFNAttention(nn.Module):
    """FFNified attention: `conv2(GELU(conv1(fc(x))))`, fc 1 x 1 + BN, the others depthwise (paper, section 3.2)."""

    def __init__(self, width: int, kernel: int, form: Form) -> None:
        super().__init__()
        self.fc = ConvNorm(PointwiseConv2d(width, width, bias=False))
        self.conv1 = depthwise(width, kernel, form, norm_at_3=False)
        self.conv2 = depthwise(width, kernel, form, norm_at_3=False)

    def forward(self, x_BCHW: Tensor, kernel: int) -> Tensor:
        query_BCHW = self.fc(x_BCHW, x_BCHW.shape[1])
        coefficients_BCHW = F.gelu(self.conv1(query_BCHW, kernel))
        return cast(Tensor, self.conv2(coefficients_BCHW, kernel))

    def deploy(self, kernel: int, layer_scale: Tensor | None) -> nn.Module:
        width = self.fc.c.out_channels
        return nn.Sequential(
            as_conv(*self.fc.folded()),
            as_conv(*folded(self.conv1), groups=width),
            nn.GELU(),
            as_conv(*folded(self.conv2), groups=width, scale=layer_scale),
        )


class Pool(nn.Module):
    """Mean of k x k neighbours minus identity, after the query projection (PoolFormer's, arXiv 2111.11418)."""

    def __init__(self, width: int, kernel: int, form: Form) -> None:
        super().__init__()
        self.fc = ConvNorm(PointwiseConv2d(width, width, bias=False))

    def forward(self, x_BCHW: Tensor, kernel: int) -> Tensor:
        return _mean_minus_identity(self.fc(x_BCHW, x_BCHW.shape[1]), kernel)

    def deploy(self, kernel: int, layer_scale: Tensor | None) -> nn.Module:
        # A constant per channel cancels between mean and identity, so the projection needs no bias.
        return _DeployedPool(as_conv(self.fc.folded()[0], None, scale=layer_scale), kernel)


def _mean_minus_identity(x_BCHW: Tensor, kernel: int) -> Tensor:
    return F.avg_pool2d(x_BCHW, kernel, 1, kernel // 2, count_include_pad=False) - x_BCHW


class _DeployedPool(nn.Module):
    def __init__(self, fc: nn.Conv2d, kernel: int) -> None:
        super().__init__()
        self.fc, self.kernel = fc, kernel

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return _mean_minus_identity(self.fc(x_BCHW), self.kernel)


class Attention(nn.Module):
    """Multi-head self-attention over the pixels, heads of `HEAD_DIM` channels; BN after each projection but the last.

    Meant for late stages: its cost grows with the square of the number of pixels.
    """

    def __init__(self, width: int, kernel: int, form: Form) -> None:
        super().__init__()
        self.q = ConvNorm(PointwiseConv2d(width, width, bias=False))
        self.k = ConvNorm(PointwiseConv2d(width, width, bias=False))
        self.v = ConvNorm(PointwiseConv2d(width, width, bias=False))
        self.proj = PointwiseConv2d(width, width)

    def forward(self, x_BCHW: Tensor, kernel: int) -> Tensor:
        width = x_BCHW.shape[1]
        mixed_BCHW = _attend(self.q(x_BCHW, width), self.k(x_BCHW, width), self.v(x_BCHW, width))
        return cast(Tensor, self.proj(mixed_BCHW, width))

    def deploy(self, kernel: int, layer_scale: Tensor | None) -> nn.Module:
        weights, biases = zip(*(part.folded() for part in (self.q, self.k, self.v)), strict=True)
        qkv = as_conv(torch.cat(weights), torch.cat(biases))
        return _DeployedAttention(qkv, as_conv(*folded(self.proj), scale=layer_scale))


def _attend(q_BCHW: Tensor, k_BCHW: Tensor, v_BCHW: Tensor) -> Tensor:
    """softmax(q k / sqrt(d)) v per head; G = batch x heads, D = HEAD_DIM, N = pixels; by simple operators."""
    _, width, height, breadth = q_BCHW.shape
    shape = (-1, HEAD_DIM, height * breadth)
    q_GDN, k_GDN, v_GDN = q_BCHW.reshape(shape), k_BCHW.reshape(shape), v_BCHW.reshape(shape)
    scores_GNN = (q_GDN.transpose(1, 2) @ k_GDN * HEAD_DIM**-0.5).softmax(-1)
    return (v_GDN @ scores_GNN.transpose(1, 2)).reshape(-1, width, height, breadth)


class _DeployedAttention(nn.Module):
    def __init__(self, qkv: nn.Conv2d, proj: nn.Conv2d) -> None:
        super().__init__()
        self.qkv, self.proj = qkv, proj

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return cast(Tensor, self.proj(_attend(*self.qkv(x_BCHW).chunk(3, 1))))
