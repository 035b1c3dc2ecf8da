"""Step `depthwise`: depthwise convolutions against a copy of as many bytes."""

from __future__ import annotations

from functools import partial
from itertools import product

import torch
from torch import nn

from gpu_steps.run import Rows, Run
from gpu_steps.stopwatch import kernel_milliseconds


def measure(run: Run) -> Rows:
    """The share of the bandwidth of a copy that depthwise convolutions reach: bytes read and written / time."""
    rows = []
    for (channels, side), dtype in product(run.amounts.shapes, (torch.float32, torch.bfloat16)):
        of = f"{channels} x {side} x {side}, batch {run.amounts.batch}, {str(dtype).removeprefix('torch.')}"
        what = f"depthwise {of}: share of a copy's bandwidth, forward, with backward"
        rows.append(run.figure(what, partial(_bandwidth, run, channels, side, dtype)))
    return rows


def _bandwidth(run: Run, channels: int, side: int, dtype: torch.dtype) -> str:
    """The shares of a copy's bandwidth of each kernel size, and that bandwidth."""
    x_BCHW = torch.randn(run.amounts.batch, channels, side, side, device=run.device, dtype=dtype)
    x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last).requires_grad_()
    target = torch.empty_like(x_BCHW)
    copy_ms = kernel_milliseconds(run, lambda: target.data.copy_(x_BCHW.data))
    gigabytes = 2 * x_BCHW.numel() * x_BCHW.element_size() / 1e9
    shares = []
    for kernel in run.amounts.kernels:
        conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        conv = conv.to(run.device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        forward_ms = kernel_milliseconds(run, lambda c=conv: c(x_BCHW.detach()))

        def both(c: nn.Module = conv) -> None:
            x_BCHW.grad = None
            c(x_BCHW).backward(target)

        # Forward reads and writes once, as a copy does; so does the gradient of the input, and that of the weights
        # reads twice: as much as three copies.
        shares.append(f"k{kernel} {copy_ms / forward_ms:.0%}, {3 * copy_ms / kernel_milliseconds(run, both):.0%}")
    return f"{'; '.join(shares)} (copy {gigabytes / copy_ms * 1e3:,.0f} GB/s)"
