"""Layers whose weights can be cropped: a smaller width is the leading channels, a smaller kernel the centre.

`crop` is the one rule; running a sub-network and copying it out both use it, so they agree by construction.
Shapes: B batch, C channels, H x W map.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffnet_search.models import distributed


def crop(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A view of `tensor` with `shape`: leading entries of the first two dimensions, the centre of the others."""
    for dim, size in enumerate(shape):
        if tensor.shape[dim] != size:
            tensor = tensor.narrow(dim, (tensor.shape[dim] - size) // 2 if dim >= 2 else 0, size)
    return tensor


class DenseConv2d(nn.Conv2d):
    """k x k convolution, (B, C, H, W) -> (B, out, H / stride, W / stride), "same" padding.

    It is cut to the channels that enter and to `out`.
    """

    def __init__(self, in_width: int, out_width: int, kernel: int, bias: bool = True) -> None:
        super().__init__(in_width, out_width, kernel, padding=kernel // 2, bias=bias)

    def forward(self, x_BCHW: Tensor, out: int | None = None, stride: int = 1) -> Tensor:
        out, k = out or self.out_channels, self.kernel_size[0]
        weight = crop(self.weight, (out, x_BCHW.shape[1], k, k))
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

    In training it normalises by the batch, of all ranks where there are several; running statistics follow only where
    `tracking` is set, since those of a supernet would mix the networks. In evaluation it uses the running statistics,
    which are recalibrated: in training mode, with `moments_C` to receive the mean and the unbiased variance of the
    batch in place of the running statistics.
    """

    tracking = True

    def forward(self, x_BCHW: Tensor, moments_C: tuple[Tensor, Tensor] | None = None) -> Tensor:
        width = x_BCHW.shape[1]
        mean_C, variance_C = moments_C or (self.running_mean, self.running_var)
        assert mean_C is not None and variance_C is not None
        used = self.tracking or not self.training or moments_C is not None
        if not used and distributed.count() > 1:
            return distributed.batch_norm(x_BCHW, self.weight[:width], self.bias[:width], self.eps)
        return F.batch_norm(
            x_BCHW,
            mean_C[:width] if used else None,
            variance_C[:width] if used else None,
            self.weight[:width],
            self.bias[:width],
            self.training,
            1.0 if moments_C else self.momentum or 0.0,
            self.eps,
        )


def _pays_to_replace_gradient(x_BCHW: Tensor, weight: Tensor, multiplier: int, stride: int) -> bool:
    """oneDNN has a fast weight gradient for 3 x 3 only: 1.3 to 8 times slower than `_Depthwise` from 5 x 5 on."""
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
    off and the result padded with zeros: without that the cost explodes on small maps.
    """

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
    """(C, 1, k, k) with k = 2 * padding + 1."""
    batch, width, height, breadth = x_BCHW.shape
    used = (min(padding, height - 1), min(padding, breadth - 1))
    channels = batch * width
    images = x_BCHW.reshape(1, channels, height, breadth)
    kernels = grad_BCHW.reshape(channels, 1, height, breadth)
    grad = F.conv2d(images, kernels, padding=used, groups=channels)
    grad = grad.view(batch, width, *grad.shape[-2:]).sum(0).unsqueeze(1)
    rows, columns = padding - used[0], padding - used[1]
    return F.pad(grad, (columns, columns, rows, rows)) if rows or columns else grad
