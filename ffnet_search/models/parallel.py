"""Data-parallel training whose result is that of one rank.

Each rank holds an equal share of the batch. The gradients of a step's networks are added up locally and averaged by one
all-reduce before the optimiser's step. DistributedDataParallel would instead look for unused parameters and reduce at
each of a step's backward passes, and pays off by overlapping one large backward pass, which is not what a step is here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn


def world_size() -> int:
    """The number of processes that train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


class _Mean(torch.autograd.Function):
    """The mean over ranks. A rank's value affects the loss of all ranks, so the gradient is averaged too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return _mean(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _mean(gradient)


def _mean(value: Tensor) -> Tensor:
    total = value.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total / world_size()


def batch_norm(x_BCHW: Tensor, weight_C: Tensor, bias_C: Tensor, eps: float) -> Tensor:
    """Batch norm by the mean and variance of the batch of all ranks; one all-reduce each way."""
    wide_BCHW = x_BCHW.float()
    variance_C, mean_C = torch.var_mean(wide_BCHW, (0, 2, 3), unbiased=False)
    moments_2C = cast(Tensor, _Mean.apply(torch.stack([mean_C, variance_C + mean_C.square()])))
    mean_C = moments_2C[0]
    scale_C = weight_C * (moments_2C[1] - mean_C.square()).clamp(min=0).add(eps).rsqrt()
    shift_C = bias_C - mean_C * scale_C
    return torch.addcmul(shift_C[:, None, None], wide_BCHW, scale_C[:, None, None]).to(x_BCHW.dtype)


def average_gradients(parameters: Iterable[nn.Parameter], loss: Tensor) -> Tensor:
    """Replace the gradients by their mean over ranks, in one all-reduce, which carries the loss too. Return its mean.

    All ranks must have gradients for the same parameters: they trained the same networks."""
    if world_size() == 1:
        return loss
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([loss.detach().float().flatten(), *(gradient.flatten() for gradient in gradients)])
    distributed.all_reduce(flat)
    flat /= world_size()
    mean, *parts = flat.split([1, *(gradient.numel() for gradient in gradients)])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    return mean[0]
