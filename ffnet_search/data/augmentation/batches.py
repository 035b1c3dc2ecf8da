"""Random augmentation of training batches on their device: a function of a key alone, so the same on any number of
ranks and workers, and in a resumed run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ffnet_search.config.schema import Augment
from ffnet_search.data.augmentation.colour import jitter
from ffnet_search.data.augmentation.moves import Share, beside, cut_out, shift_flip_and_turn
from ffnet_search.data.augmentation.rand_augment import RandAugment
from ffnet_search.data.augmentation.transforms import Transform

MOVES, OPERATIONS, JITTER, TRANSFORMS = range(4)  # streams of a key


@dataclass(frozen=True)
class Augmentation:
    """The section `data.augment` on normalised images, float32 (B, C, H, W), and their targets.

    In this order: shift, flip, turn, RandAugment, colour jitter, user-supplied transforms, cutout. `mean_C`, `std_C`:
    of the images, in levels of 255; pixels from beyond the edge have the mean. `fill`: beyond the edge of targets that
    are maps (B, H, W), which move with their images; None for other targets, which stay."""

    section: Augment
    mean_C: Tensor
    std_C: Tensor
    fill: int | None = None
    transforms: tuple[Transform, ...] = ()

    def __call__(self, batch: tuple[Tensor, Tensor], key: Sequence[int], share: Share) -> tuple[Tensor, Tensor]:
        """The share of one of several ranks in the batch of a key; the same tensors with nothing to do."""
        images_BCHW, target_B = batch
        moves = _generator(key, MOVES)
        images_BCHW = shift_flip_and_turn(images_BCHW, self.section, moves, share)
        maps_BHW = None
        if self.fill is not None:
            same = _generator(key, MOVES)
            maps_BHW = shift_flip_and_turn(target_B[:, None], self.section, same, share, self.fill)[:, 0]
        if self.section.changes_levels:
            images_BCHW, maps_BHW = self._by_levels(images_BCHW, maps_BHW, key, share)
        if self.section.cutout:
            images_BCHW = cut_out(images_BCHW, self.section.cutout, moves, share)
        return images_BCHW, target_B if maps_BHW is None else maps_BHW

    def _by_levels(
        self, images_BCHW: Tensor, maps_BHW: Tensor | None, key: Sequence[int], share: Share
    ) -> tuple[Tensor, Tensor | None]:
        section, device = self.section, images_BCHW.device
        mean_C11, std_C11 = (beside(one_C, images_BCHW)[:, None, None] for one_C in (self.mean_C, self.std_C))
        levels_BCHW = (images_BCHW * std_C11 + mean_C11).clamp(0, 255)
        if section.randaugment:
            operations = RandAugment(section.randaugment, section.magnitude, self.mean_C)
            generator = _generator(key, OPERATIONS)
            levels_BCHW, maps_BHW = operations(levels_BCHW, maps_BHW, generator, share, self.fill or 0)
        if section.jitter or section.hue:
            generator = _generator(key, JITTER)
            levels_BCHW = jitter(levels_BCHW, section.jitter, section.hue, generator, share).clamp(0, 255)
        if self.transforms:
            _, mine = share.of(images_BCHW)
            pixels_BCHW, maps_BHW = levels_BCHW.round().byte().cpu(), None if maps_BHW is None else maps_BHW.cpu()
            for number, transform in enumerate(self.transforms):
                pixels_BCHW, maps_BHW = transform(pixels_BCHW, maps_BHW, (*key, TRANSFORMS, number), mine.start)
            levels_BCHW, maps_BHW = pixels_BCHW.to(device).float(), None if maps_BHW is None else maps_BHW.to(device)
        return ((levels_BCHW - mean_C11) / std_C11).contiguous(memory_format=torch.channels_last), maps_BHW


def _generator(key: Sequence[int], stream: int) -> torch.Generator:
    """A generator on the CPU, so that every device sees the same images."""
    state = np.random.SeedSequence([*key, stream]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))
