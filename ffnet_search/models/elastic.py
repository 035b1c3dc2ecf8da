"""Convolutions and norms whose weights can be cropped: a smaller width is the leading channels, a smaller kernel the
centre. `folded` merges a convolution, its norm and its branches into one plain convolution, for deployment.

`crop` is the one rule; running a sub-network and copying it out both use it, so they agree by construction.
Shapes: B batch, C channels, H x W map.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffnet_search.models import parallel
from ffnet_search.space.architecture import Form


def crop(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A view of `tensor` with `shape`: leading entries of the first two dimensions, the centre of the others."""
    for dim, size in enumerate(shape):
        if tensor.shape[dim] != size:
            tensor = tensor.narrow(dim, (tensor.shape[dim] - size) // 2 if dim >= 2 else 0, size)
    return tensor


class DenseConv2d(nn.Conv2d):
    """k x k convolution, (B, C, H, W) -> (B, out, H / stride, W / stride), "same" padding.

    The weight is cropped to the channels of the input and to `out`. `used`: its outputs and inputs in the last forward
    pass with gradients, for an optimiser whose step is of this part."""

    def __init__(self, in_width: int, out_width: int, kernel: int, bias: bool = True) -> None:
        super().__init__(in_width, out_width, kernel, padding=kernel // 2, bias=bias)
        self.used = (out_width, in_width)

    def forward(self, x_BCHW: Tensor, out: int | None = None, stride: int = 1) -> Tensor:
        out, k = out or self.out_channels, self.kernel_size[0]
        weight = crop(self.weight, (out, x_BCHW.shape[1], k, k))
        if torch.is_grad_enabled():
            self.used = (out, x_BCHW.shape[1])
        return F.conv2d(x_BCHW, weight, None if self.bias is None else self.bias[:out], stride, k // 2)


class DepthwiseConv2d(nn.Conv2d):
    """k x k depthwise convolution, (B, C, H, W) -> (B, C * multiplier, H / stride, W / stride), "same" padding."""

    def __init__(self, width: int, kernel: int, multiplier: int = 1, stride: int = 1, bias: bool = False) -> None:
        super().__init__(width, width * multiplier, kernel, stride=stride, padding=kernel // 2, groups=width, bias=bias)
        self.multiplier = multiplier

    def forward(self, x_BCHW: Tensor, kernel: int | None = None) -> Tensor:
        groups, k = x_BCHW.shape[1], kernel or self.kernel_size[0]
        out = groups * self.multiplier
        weight = crop(self.weight, (out, 1, k, k))
        bias = None if self.bias is None else self.bias[:out]
        if _pays_to_replace_gradient(x_BCHW, weight, self.multiplier, self.stride[0]):
            y_BCHW = _Depthwise.apply(x_BCHW, weight)
            return y_BCHW if bias is None else y_BCHW + bias[:, None, None]
        return F.conv2d(x_BCHW, weight, bias, self.stride, k // 2, 1, groups)


class ElasticBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the leading channels.

    In training it normalises by the batch, of all ranks where there are several; running statistics are updated only if
    `tracking` is set, since those of a supernet would mix its sub-networks. In evaluation it uses the running
    statistics. Recalibration sets `momentum` 1: they become the mean and the unbiased variance of the batch."""

    tracking = True

    def forward(self, x_BCHW: Tensor, momentum: float | None = None) -> Tensor:
        width = x_BCHW.shape[1]
        mean_C, variance_C = self.running_mean, self.running_var
        assert mean_C is not None and variance_C is not None
        uses_running = self.tracking or not self.training
        if not uses_running and parallel.world_size() > 1:
            return parallel.batch_norm(x_BCHW, self.weight[:width], self.bias[:width], self.eps)
        return F.batch_norm(
            x_BCHW,
            mean_C[:width] if uses_running else None,
            variance_C[:width] if uses_running else None,
            self.weight[:width],
            self.bias[:width],
            self.training,
            momentum or self.momentum or 0.0,
            self.eps,
        )


class Unnormalised(nn.Module):
    """The identity in the place of batch norm, in a network of form "bare"."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW


Norm = ElasticBatchNorm2d | Unnormalised


def make_norm(width: int, form: Form) -> Norm:
    """A batch norm, or none, by the form."""
    return Unnormalised() if form.branches == "bare" else ElasticBatchNorm2d(width)


class ConvNorm(nn.Module):
    """A convolution without bias, then batch norm. Attribute names are those of the reference's state dict."""

    def __init__(self, conv: DenseConv2d | DepthwiseConv2d) -> None:
        super().__init__()
        self.c = conv
        self.bn = ElasticBatchNorm2d(conv.out_channels)

    def forward(self, x_BCHW: Tensor, *sizes: int) -> Tensor:
        return cast(Tensor, self.bn(self.c(x_BCHW, *sizes)))


class Branches(nn.Module):
    """k x k depthwise + BN beside 3 x 3 depthwise + BN (reference: RepVGGDW), merged for deployment.

    A sub-network with a smaller kernel keeps the 3 x 3 branch whole, at k = 3 too: the form of a slot never changes."""

    def __init__(self, width: int, kernel: int, multiplier: int, stride: int) -> None:
        super().__init__()
        self.conv = ConvNorm(DepthwiseConv2d(width, kernel, multiplier, stride))
        self.conv1 = ConvNorm(DepthwiseConv2d(width, 3, multiplier, stride))

    def forward(self, x_BCHW: Tensor, kernel: int) -> Tensor:
        return cast(Tensor, self.conv(x_BCHW, kernel) + self.conv1(x_BCHW))


def dense(in_width: int, out_width: int, kernel: int, form: Form) -> ConvNorm | DenseConv2d:
    """A dense convolution in the given form: with BN, or with a bias."""
    if form.branches == "bare":
        return DenseConv2d(in_width, out_width, kernel)
    return ConvNorm(DenseConv2d(in_width, out_width, kernel, bias=False))


def depthwise(
    width: int, kernel: int, form: Form, *, multiplier: int = 1, stride: int = 1, norm_at_3: bool = True
) -> ConvNorm | Branches | DepthwiseConv2d:
    """A depthwise convolution in the given form. `norm_at_3`: 3 x 3 has BN in the reference, not a bias."""
    if form.branches == "all" or (form.branches == "reference" and kernel >= 5):
        return Branches(width, kernel, multiplier, stride)
    if form.branches != "bare" and (form.branches == "none" or norm_at_3):
        return ConvNorm(DepthwiseConv2d(width, kernel, multiplier, stride))
    return DepthwiseConv2d(width, kernel, multiplier, stride, bias=True)


def folded(module: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of one convolution with the same output as a module of this file, by the running statistics."""
    if isinstance(module, Branches):
        weight, bias = folded(module.conv)
        small, small_bias = folded(module.conv1)
        margin = (weight.shape[-1] - 3) // 2
        return weight + F.pad(small, (margin,) * 4), bias + small_bias
    if isinstance(module, ConvNorm):
        scale, shift = affine(module.bn)
        return module.c.weight * scale[:, None, None, None], shift
    if isinstance(module, nn.Conv2d):
        bias = module.bias if module.bias is not None else module.weight.new_zeros(module.out_channels)
        return module.weight, bias
    raise TypeError(f"{type(module).__name__} is not a convolution")


def absorbed(norm: Norm, weight_OI: Tensor, bias_O: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (O, I) and bias (O,) with the norm before them folded in: W (s x + t) + b = (W s) x + (W t + b)."""
    if isinstance(norm, Unnormalised):
        return weight_OI, bias_O
    scale, shift = affine(norm)
    return weight_OI * scale, bias_O + weight_OI @ shift


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


def _pays_to_replace_gradient(x_BCHW: Tensor, weight: Tensor, multiplier: int, stride: int) -> bool:
    """True where `_Depthwise` is faster: oneDNN's weight gradient is 1.3 to 8 times slower from 5 x 5 on."""
    return (
        weight.shape[-1] >= 5
        and stride == 1
        and multiplier == 1
        and x_BCHW.device.type == "cpu"
        and torch.is_grad_enabled()
        and weight.requires_grad
    )


class _Depthwise(torch.autograd.Function):
    """Depthwise convolution whose weight gradient is computed as a forward depthwise convolution.

    dW[c] = sum over n of x[n, c] correlated with dY[n, c]: with (n, c) as the channels of one image and dY as their
    kernels of size H x W, that is one depthwise convolution. Padding beyond H - 1 meets no pixel of dY, so it is cut
    off and the result padded with zeros: without that the cost explodes on small maps."""

    @staticmethod
    def forward(ctx: Any, x_BCHW: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x_BCHW, weight)
        return F.conv2d(x_BCHW, weight, None, 1, weight.shape[-1] // 2, 1, x_BCHW.shape[1])

    @staticmethod
    def backward(ctx: Any, grad_BCHW: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x_BCHW, weight = ctx.saved_tensors
        needs_x, needs_weight = ctx.needs_input_grad
        padding, width = weight.shape[-1] // 2, x_BCHW.shape[1]
        grad_x = None
        if needs_x:
            grad_x = torch.ops.aten.convolution_backward(
                grad_BCHW, x_BCHW, weight, None, [1, 1], [padding] * 2, [1, 1], False, [0, 0], width,
                [True, False, False],
            )[0]  # fmt: skip
        return grad_x, _weight_gradient(x_BCHW, grad_BCHW, padding) if needs_weight else None


def _weight_gradient(x_BCHW: Tensor, grad_BCHW: Tensor, padding: int) -> Tensor:
    """The gradient of a depthwise weight, (C, 1, k, k) with k = 2 * padding + 1."""
    batch, width, height, breadth = x_BCHW.shape
    used = (min(padding, height - 1), min(padding, breadth - 1))
    channels = batch * width
    images = x_BCHW.reshape(1, channels, height, breadth)
    kernels = grad_BCHW.reshape(channels, 1, height, breadth)
    grad = F.conv2d(images, kernels, padding=used, groups=channels)
    grad = grad.view(batch, width, *grad.shape[-2:]).sum(0).unsqueeze(1)
    rows, columns = padding - used[0], padding - used[1]
    return F.pad(grad, (columns, columns, rows, rows)) if rows or columns else grad
