"""The data of super-resolution for Lightning's Trainer: random patches in training, whole photos in evaluation.

Content of batch k of epoch e is a function of (seed, e, k): a resumed run sees the same. Shape keys: B batch, C
channels, h and w pixels of what a network is given, H and W of what it should give.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ffnet_search.config.schema import DataSection
from ffnet_search.data.dataset import Fold, Indices, Pixels, hold_out, refuse_given_validation, split_digest
from ffnet_search.data.modules.base import Data
from ffnet_search.data.modules.epoch_loader import Batch, EpochLoader
from ffnet_search.data.modules.image_data import CALIBRATION, CALIBRATION_PIXELS, CROP, FOLDS, ORDER
from ffnet_search.data.photo_set.photo_folder import Pair, Photos
from ffnet_search.errors import SweepError
from ffnet_search.formatting import plural
from ffnet_search.space.sides import height_and_width
from ffnet_search.tasks.base import Task

EVALUATED_PIXELS = 1 << 20  # of what a network is given, in evaluation; of larger photos, the middle
BATCH_PIXELS = 1 << 17  # of whole photos in a batch, but for a single one


class PhotoData(Data):
    """Photos, of which some are held out to compare networks on.

    An epoch has `data.patches` patches of each training photo, `data.patch` pixels a side before they are enlarged, in
    random order; `augment.flip` and `augment.turn` mirror and turn them. Each of several ranks trains on its share of
    every batch, and validates on everything."""

    def __init__(self, photos: Photos, section: DataSection, seed: int, task: Task, fold: Fold | None = None) -> None:
        super().__init__()
        self.outputs = ()
        self.order_seed = seed
        self._photos, self._section, self._seed = photos, section, seed
        if fold is not None:
            refuse_given_validation(photos.validation)
            parts = fold.of(np.zeros(len(photos.train), np.int64), np.random.default_rng([seed, FOLDS]))
            self._train, self._validation = (photos.train[part] for part in parts)
        elif photos.validation is None:
            names = [photos.names[index] for index in photos.train]
            parts = hold_out(names, np.zeros(len(names), np.int64), section.validation, seed)
            self._train, self._validation = (photos.train[part] for part in parts)
        else:
            self._train, self._validation = photos.train, photos.validation
        if not len(self._train) or not len(self._validation):
            raise SweepError(
                f"data.validation must leave a photo for training and hold out 1, but {section.validation} of "
                f"{plural(len(photos.train), 'photo')} holds out {len(self._validation)}; change data.validation or "
                "add photos"
            )
        self.train_images = len(self._train) * section.patches

    def train_dataloader(self) -> EpochLoader:
        """Shuffled batches; each epoch leaves out other patches, which do not fill a last batch."""
        rank, ranks = self.rank
        patches = np.repeat(self._train, self._section.patches)
        per_rank = self.share_of_batch(self._section.batch_size, len(patches))
        steps = len(patches) // (per_rank * ranks)

        def batches(epoch: int, start: int) -> Iterator[Batch]:
            order = np.random.default_rng([self.order_seed, ORDER, epoch]).permutation(len(patches))
            for k in range(start, steps):
                mine = order[(k * ranks + rank) * per_rank :][:per_rank]
                pairs = self._photos.reader.pairs(patches[mine].tolist())
                keys = ([self.order_seed, CROP, epoch, int(index)] for index in mine)
                yield as_batch([self._patch(pair, key) for pair, key in zip(pairs, keys, strict=True)])

        return EpochLoader(batches, steps)

    def val_dataloader(self) -> EpochLoader:
        return self._whole(self._validation)

    def test_dataloader(self) -> EpochLoader:
        return self._whole(self._photos.test)

    @cached_property
    def calibration(self) -> Tensor:
        """Images of the deployed size from training photos: the middle, continued by its mirror image where the photo
        is smaller."""
        sides = height_and_width(self._photos.input.resolution)
        rng = np.random.default_rng([self._seed, CALIBRATION])
        count = max(1, min(self._section.calibration, CALIBRATION_PIXELS // (sides[0] * sides[1])))
        chosen = np.sort(rng.permutation(self._train)[:count])
        lows = (pair.low_hwC for pair in self._photos.reader.pairs(chosen.tolist()))
        return as_images([_filled(_middle(low_hwC, sides), sides) for low_hwC in lows])

    @property
    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each channel in levels of 255, which images are normalised by: to 0 to 1."""
        channels = self._photos.input.channels
        return torch.zeros(channels), torch.full((channels,), 255.0)

    @cached_property
    def fingerprint(self) -> str:
        return split_digest(self._photos.digest, self._train, self._validation)

    def _patch(self, pair: Pair, key: Sequence[int]) -> Pair:
        """A random patch of a photo, mirrored and turned with its reduced form."""
        rng, augment, side = np.random.default_rng(key), self._section.augment, self._section.patch
        y, x = (int(rng.integers(pixels - side + 1)) for pixels in pair.low_hwC.shape[:2])
        flips, turns = augment.flip and rng.random() < 0.5, int(rng.integers(4)) if augment.turn else 0
        scale = self._photos.reader.scale
        patches = []
        for pixels_HWC, by in ((pair.low_hwC, 1), (pair.high_HWC, scale)):
            patch_HWC = pixels_HWC[y * by : (y + side) * by, x * by : (x + side) * by]
            patches.append(np.rot90(patch_HWC[:, ::-1] if flips else patch_HWC, turns))
        return Pair(*patches)

    def _whole(self, members: Indices) -> EpochLoader:
        """Whole photos; a batch has one size."""
        by_size: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for index in members.tolist():
            by_size[self._size(index)].append(index)
        parts = []
        for size, indices in by_size.items():
            most = max(1, min(self._section.batch_size, BATCH_PIXELS // (size[0] * size[1])))
            parts += [indices[start : start + most] for start in range(0, len(indices), most)]

        def batches(epoch: int, start: int) -> Iterator[Batch]:
            for indices in parts[start:]:
                yield as_batch([self._evaluated(pair) for pair in self._photos.reader.pairs(indices)])

        return EpochLoader(batches, len(parts))

    def _size(self, index: int) -> tuple[int, ...]:
        [pair] = self._photos.reader.pairs([index])
        return pair.low_hwC.shape[:2]

    def _evaluated(self, pair: Pair) -> Pair:
        height, width = pair.low_hwC.shape[:2]
        share = min(1.0, (EVALUATED_PIXELS / (height * width)) ** 0.5)
        if share == 1.0:
            return pair
        sides = max(1, int(share * height)), max(1, int(share * width))
        y, x = (height - sides[0]) // 2, (width - sides[1]) // 2
        by = self._photos.reader.scale
        high_HWC = pair.high_HWC[y * by : (y + sides[0]) * by, x * by : (x + sides[1]) * by]
        return Pair(pair.low_hwC[y : y + sides[0], x : x + sides[1]], high_HWC)


def as_images(pixels: Sequence[Pixels]) -> Tensor:
    """Images uint8 (H, W, C) of one size as float32 (B, C, H, W) in 0 to 1, channels_last."""
    return torch.from_numpy(np.stack(pixels)).float().div_(255).permute(0, 3, 1, 2)


def as_batch(pairs: Sequence[Pair]) -> Batch:
    """Images in 0 to 1, float32 (B, C, h, w), and their targets, uint8 (B, C, H, W)."""
    targets = torch.from_numpy(np.stack([pair.high_HWC for pair in pairs])).permute(0, 3, 1, 2)
    return as_images([pair.low_hwC for pair in pairs]), targets


def _middle(pixels_HWC: Pixels, sides: tuple[int, int]) -> Pixels:
    """The middle of an image, of at most these sides."""
    starts = [max(0, (have - want) // 2) for have, want in zip(pixels_HWC.shape, sides, strict=False)]
    return pixels_HWC[starts[0] :, starts[1] :][: sides[0], : sides[1]]


def _filled(pixels_HWC: Pixels, sides: tuple[int, int]) -> Pixels:
    """An image continued by its mirror image to these sides."""
    missing = [(0, want - have) for want, have in zip(sides, pixels_HWC.shape, strict=False)]
    return np.pad(pixels_HWC, [*missing, (0, 0)], mode="symmetric")
