"""The normalisation of images and of targets: mean and deviation of each channel, of each target."""

from __future__ import annotations

import torch
from torch import Tensor

from ffnet_search.data.dataset import Images, Indices, Pixels

MIN_STD = 1.0  # levels of 255, for a channel that hardly varies
CHUNK = 1024  # images summed at once


def spread_of(targets_NK: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each target, float32 (K,); a target that does not vary has the spread 1."""
    spread_K, mean_K = torch.std_mean(targets_NK.double(), 0, correction=0)
    return mean_K.float(), torch.where(spread_K > 0, spread_K, 1.0).float()


def normalise(pixels_BHWC: Pixels, mean_C: Tensor, std_C: Tensor) -> Tensor:
    """Convert uint8 (B, H, W, C) to float32 (B, C, H, W), channels_last; `mean_C` and `std_C` in levels of 255."""
    _, height, width, _ = pixels_BHWC.shape
    rows = torch.from_numpy(pixels_BHWC).flatten(1).float()  # long rows: ten times as fast as broadcasting over C
    rows.sub_(mean_C.repeat(height * width)).mul_((1 / std_C).repeat(height * width))
    return rows.view(pixels_BHWC.shape).permute(0, 3, 1, 2)


def statistics(images: Images, indices: Indices) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over those images, float32 (C,), in levels of 255; exact sums."""
    total, squares, count = torch.zeros(1), torch.zeros(1), 0
    for start in range(0, len(indices), CHUNK):
        pixels_BHWC = torch.from_numpy(images.read(indices[start : start + CHUNK])).int()
        total = total + pixels_BHWC.sum(0).sum((0, 1)).double()
        squares = squares + (pixels_BHWC * pixels_BHWC).sum(0).sum((0, 1)).double()
        count += pixels_BHWC[..., 0].numel()
    mean = total / count
    std = (squares / count - mean**2).clamp(min=0).sqrt().clamp(min=MIN_STD)
    return mean.float(), std.float()
