"""Mixed images for training: mix-up (Zhang et al. 2017, arXiv 1710.09412) and CutMix (Yun et al. 2019, 1905.04899).

The losses on both targets are mixed, which equals the loss on mixed targets wherever it is linear in them, as
cross-entropies are. Maps as targets are cut as their images are. Shape keys: B batch, C channels, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ffnet_search.config.schema import TrainSection


@dataclass(frozen=True)
class Mixed:
    """Mixed images with their targets: `first_B` with the weight `share`, `second_B` with the rest; None if it is 0."""

    images_BCHW: Tensor
    first_B: Tensor
    second_B: Tensor | None = None
    share: float = 1.0

    def loss(self, on_targets: Callable[[Tensor, Tensor], Tensor], output_B: Tensor) -> Tensor:
        """The mean of `on_targets(output, targets)` over both, by their shares."""
        first = on_targets(output_B, self.first_B)
        if self.second_B is None:
            return first
        return self.share * first + (1 - self.share) * on_targets(output_B, self.second_B)


def mix(images_BCHW: Tensor, target_B: Tensor, recipe: TrainSection, *, has_maps: bool = False) -> Mixed:
    """Mix a batch for the largest network by `train.mixup` and `train.cutmix`; with both, each in half of the batches.

    `has_maps`: targets are maps (B, ..., H, W) of their images. Draws from torch's generator."""
    if not recipe.mixes:
        return Mixed(images_BCHW, target_B)
    cuts = bool(recipe.cutmix) and not (recipe.mixup and float(torch.rand(())) < 0.5)
    strength = recipe.cutmix if cuts else recipe.mixup
    share = float(torch.distributions.Beta(strength, strength).sample())
    order_B = torch.randperm(len(images_BCHW), device=images_BCHW.device)
    if not cuts:
        return Mixed(images_BCHW.lerp(images_BCHW[order_B], 1 - share), target_B, target_B[order_B], share)
    height, width = images_BCHW.shape[2:]
    rows, columns = _cut(height, 1 - share), _cut(width, 1 - share)
    pasted_BCHW = _pasted(images_BCHW, order_B, rows, columns)
    if has_maps:
        by_rows, by_columns = target_B.shape[-2] / height, target_B.shape[-1] / width  # 1 unless masks are larger
        return Mixed(pasted_BCHW, _pasted(target_B, order_B, _scaled(rows, by_rows), _scaled(columns, by_columns)))
    kept = 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
    return Mixed(pasted_BCHW, target_B, target_B[order_B], kept)


def _cut(pixels: int, area: float) -> slice:
    """The rows or columns of a box with that share of the area: centred anywhere, so often clipped."""
    side, centre = round(pixels * area**0.5), int(torch.randint(pixels, ()))
    start = centre - side // 2
    return slice(max(0, start), min(pixels, start + side))


def _scaled(cut: slice, by: float) -> slice:
    return slice(round(cut.start * by), round(cut.stop * by))


def _pasted(images_BxHW: Tensor, order_B: Tensor, rows: slice, columns: slice) -> Tensor:
    """Each image with a box of the image that follows it in `order_B`."""
    pasted_BxHW = images_BxHW.clone()
    pasted_BxHW[..., rows, columns] = images_BxHW[order_B][..., rows, columns]
    return pasted_BxHW
