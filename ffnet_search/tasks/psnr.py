"""The peak signal-to-noise ratio of photos on their luma, as papers on super-resolution print it.

Y of BT.601 from photos rounded to 8 bits, without `cut` pixels at each edge; the mean over photos (reference:
super_resolution/ffnetsr, by BasicSR's `calculate_psnr`). torchmetrics' takes all pixels of a batch together.
Shape keys: B batch, C channels, H and W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

LUMA = (65.481 / 255, 128.553 / 255, 24.966 / 255)  # of red, green and blue, in levels of 255
LUMA_OFFSET = 16.0
MAX_DB = 100.0  # of equal photos, whose ratio is infinite


class LumaPsnr(Metric):
    """Updated with photos float (B, C, H, W) in 0 to 1, and the ground truth, uint8 of the same shape."""

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, cut: int) -> None:
        super().__init__()
        self.cut = cut
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, output: Tensor, target_BCHW: Tensor) -> None:
        self.total += psnr(levels(output), target_BCHW, self.cut).sum()
        self.count += len(target_BCHW)

    def compute(self) -> Tensor:
        return self.total / self.count.clamp(min=1)


def levels(output_BCHW: Tensor) -> Tensor:
    """A network's photos in 0 to 1 as uint8."""
    return output_BCHW.detach().float().clamp(0, 1).mul(255).round().byte()


def luma(levels_BCHW: Tensor) -> Tensor:
    """Y in levels of 255, float64 (B, H, W); of one channel, that channel."""
    levels_BCHW = levels_BCHW.double()
    if levels_BCHW.shape[1] != len(LUMA):
        return levels_BCHW.mean(1)
    # numbers, and no tensor of them: it would have to reach the device first
    red_BHW, green_BHW, blue_BHW = levels_BCHW.unbind(1)
    return LUMA[0] * red_BHW + LUMA[1] * green_BHW + LUMA[2] * blue_BHW + LUMA_OFFSET


def psnr(levels_BCHW: Tensor, target_BCHW: Tensor, cut: int) -> Tensor:
    """Decibels of each photo, float64 (B,), at most `MAX_DB`. Photos of fewer pixels keep their edges."""
    difference_BHW = luma(levels_BCHW) - luma(target_BCHW)
    if cut and min(difference_BHW.shape[1:]) > 2 * cut:
        difference_BHW = difference_BHW[:, cut:-cut, cut:-cut]
    error_B = difference_BHW.square().mean((1, 2))
    return (10 * torch.log10(255.0**2 / error_B)).clamp(max=MAX_DB)
