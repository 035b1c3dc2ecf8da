"""Changes of colours and levels, each image by its own strength. Images are float32 (B, C, H, W) in levels of 255.

By a factor 1 an image stays as it is. Results may lie outside 0 to 255, for the caller to clamp.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from ffnet_search.data.augmentation.moves import Share, beside

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)
# Luma and two axes of colour, in whose plane a turn changes the hue and nothing else (YIQ, NTSC 1953).
YIQ = (LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))
LEVELS = 256
CENTRE, AROUND = 5 / 13, 1 / 13  # of Pillow's smoothing filter


def jitter(levels_BCHW: Tensor, strength: float, hue: float, generator: torch.Generator, share: Share) -> Tensor:
    """Brightness, contrast and saturation by factors of 1 - `strength` to 1 + `strength`, and the hue turned by up to
    `hue` of a circle, in this order."""
    whole, mine = share.of(levels_BCHW)
    draws_4B = (2 * torch.rand(4, whole, generator=generator) - 1)[:, mine]
    for change, draw_B in zip((brightness, contrast, saturation), draws_4B[:3] * strength, strict=True):
        levels_BCHW = change(levels_BCHW, 1 + draw_B) if strength else levels_BCHW
        levels_BCHW = levels_BCHW.clamp(0, LEVELS - 1)
    return turn_hue(levels_BCHW, draws_4B[3] * hue) if hue else levels_BCHW


def grey(levels_BCHW: Tensor) -> Tensor:
    """The luma of colour images, (B, 1, H, W); of others the mean over channels."""
    if levels_BCHW.shape[1] != len(LUMA):
        return levels_BCHW.mean(1, keepdim=True)
    return (levels_BCHW * _per_channel(LUMA, levels_BCHW)).sum(1, keepdim=True)


def brightness(levels_BCHW: Tensor, factor_B: Tensor) -> Tensor:
    """Levels times a factor."""
    return levels_BCHW * _per_image(factor_B, levels_BCHW)


def contrast(levels_BCHW: Tensor, factor_B: Tensor) -> Tensor:
    """Differences from the mean luma of the image, times a factor."""
    return _blend(grey(levels_BCHW).mean((2, 3), keepdim=True), levels_BCHW, factor_B)


def saturation(levels_BCHW: Tensor, factor_B: Tensor) -> Tensor:
    """Differences from the luma of the pixel, times a factor; grey images stay."""
    return _blend(grey(levels_BCHW), levels_BCHW, factor_B)


def sharpness(levels_BCHW: Tensor, factor_B: Tensor) -> Tensor:
    """Differences from the smoothed image, times a factor; pixels at the edge stay."""
    channels, smooth_BCHW = levels_BCHW.shape[1], levels_BCHW.clone()
    if min(levels_BCHW.shape[2:]) < 3:
        return levels_BCHW
    kernel_C133 = levels_BCHW.new_full((channels, 1, 3, 3), AROUND)
    kernel_C133[:, :, 1, 1] = CENTRE
    smooth_BCHW[:, :, 1:-1, 1:-1] = functional.conv2d(levels_BCHW, kernel_C133, groups=channels)
    return _blend(smooth_BCHW, levels_BCHW, factor_B)


def turn_hue(levels_BCHW: Tensor, turns_B: Tensor) -> Tensor:
    """Turn the hue of colour images by shares of a circle; images of other channels stay."""
    if levels_BCHW.shape[1] != len(LUMA):
        return levels_BCHW
    angle_B, to_yiq = turns_B * 2 * math.pi, torch.tensor(YIQ)
    turn_B33 = torch.eye(3).repeat(len(turns_B), 1, 1)
    turn_B33[:, 1, 1], turn_B33[:, 1, 2] = angle_B.cos(), -angle_B.sin()
    turn_B33[:, 2, 1], turn_B33[:, 2, 2] = angle_B.sin(), angle_B.cos()
    whole_B33 = beside(to_yiq.inverse() @ turn_B33 @ to_yiq, levels_BCHW)
    return torch.einsum("boc,bchw->bohw", whole_B33, levels_BCHW)


def auto_contrast(levels_BCHW: Tensor) -> Tensor:
    """Stretch each channel to 0 to 255; one that does not vary stays."""
    low_BC11, high_BC11 = levels_BCHW.amin((2, 3), keepdim=True), levels_BCHW.amax((2, 3), keepdim=True)
    stretched_BCHW = (levels_BCHW - low_BC11) * ((LEVELS - 1) / (high_BC11 - low_BC11).clamp(min=1e-6))
    return torch.where(high_BC11 > low_BC11, stretched_BCHW, levels_BCHW)


def equalize(levels_BCHW: Tensor) -> Tensor:
    """Give each channel about as many pixels of every level: its levels become their shares of the pixels above the
    lowest level."""
    batch, channels, height, width = levels_BCHW.shape
    level_RN = levels_BCHW.round().long().clamp(0, LEVELS - 1).reshape(batch * channels, height * width)
    counts_RL = torch.zeros(len(level_RN), LEVELS, device=levels_BCHW.device)
    counts_RL.scatter_add_(1, level_RN, torch.ones_like(level_RN, dtype=counts_RL.dtype))
    up_to_RL = counts_RL.cumsum(1)
    lowest_R1 = up_to_RL.gather(1, level_RN.amin(1, keepdim=True))
    others_R1 = height * width - lowest_R1
    table_RL = (up_to_RL - lowest_R1) / others_R1.clamp(min=1) * (LEVELS - 1)
    made_RN = torch.where(others_R1 > 0, table_RL.gather(1, level_RN), level_RN.float())
    return made_RN.view(batch, channels, height, width)


def solarize(levels_BCHW: Tensor, threshold: float) -> Tensor:
    """Invert levels from `threshold` on."""
    return torch.where(levels_BCHW >= threshold, LEVELS - 1 - levels_BCHW, levels_BCHW)


def posterize(levels_BCHW: Tensor, bits: int) -> Tensor:
    """Keep the upper `bits` of the 8 bits of a level."""
    step = 2 ** (8 - bits)
    return (levels_BCHW / step).floor() * step


def _blend(plain_BCHW: Tensor, levels_BCHW: Tensor, factor_B: Tensor) -> Tensor:
    return plain_BCHW + (levels_BCHW - plain_BCHW) * _per_image(factor_B, levels_BCHW)


def _per_image(factor_B: Tensor, levels_BCHW: Tensor) -> Tensor:
    return beside(factor_B.to(levels_BCHW.dtype), levels_BCHW)[:, None, None, None]


def _per_channel(values: tuple[float, ...], levels_BCHW: Tensor) -> Tensor:
    return beside(torch.tensor(values, dtype=levels_BCHW.dtype), levels_BCHW)[:, None, None]
