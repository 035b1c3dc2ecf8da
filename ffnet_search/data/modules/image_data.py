"""The data module of image sets: four splits, their loaders, augmentation and normalisation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ffnet_search.config.schema import DataSection
from ffnet_search.data.augmentation.batches import Augmentation
from ffnet_search.data.augmentation.moves import Share
from ffnet_search.data.augmentation.transforms import make_transforms
from ffnet_search.data.dataset import (
    Fold,
    Images,
    Indices,
    InMemory,
    Source,
    Strata,
    hold_out,
    refuse_given_validation,
    split_digest,
    stratified_order,
)
from ffnet_search.data.modules.base import Data
from ffnet_search.data.modules.epoch_loader import Batch, EpochLoader
from ffnet_search.data.modules.normalisation import CHUNK, normalise, spread_of, statistics
from ffnet_search.errors import SweepError
from ffnet_search.formatting import plural
from ffnet_search.tasks.base import Task

# Random streams of a sweep's seed, one per purpose: numpy.random.default_rng([seed, stream, ...]).
CALIBRATION, ORDER, CROP, AUGMENT, FOLDS = range(1, 6)  # 0: dataset.VALIDATION_STREAM
CALIBRATION_PIXELS = 1 << 23  # of a dense task's calibration images together: 32 of 512 x 512


class ImageData(Data):
    """A `Source`: train (calibration is a part of it) and search validation, its own or split from the seed.

    Content and augmentation of batch k of epoch e are a function of (seed, e, k): a resumed run sees the same. Each of
    several ranks trains on its share of every batch, so that together they see the batches of one, and validates on
    everything. `fold`: holds out that one in the place of search validation."""

    def __init__(self, source: Source, section: DataSection, seed: int, task: Task, fold: Fold | None = None) -> None:
        super().__init__()
        self.outputs = source.outputs
        self._source, self._section, self._task = source, section, task
        self.order_seed = seed
        self._transforms = make_transforms(section.augment)
        strata_N = task.strata(source.train.targets_N)
        if fold is None:
            self._train, self._validation = _split(source, strata_N, section.validation, seed)
        else:
            refuse_given_validation(source.validation)
            self._train, self._validation = fold.of(strata_N, np.random.default_rng([seed, FOLDS]))
        self._compared = source.validation or source.train  # the images that `_validation` counts
        order = stratified_order(strata_N[self._train], np.random.default_rng([seed, CALIBRATION]))
        pixels = math.prod(source.train.targets_N.shape[1:])  # 1 but for dense tasks
        self._calibration = self._train[order[: min(section.calibration, CALIBRATION_PIXELS // pixels)]]
        self.train_images = len(self._train)

    def train_dataloader(self) -> EpochLoader:
        """Shuffled batches; each epoch leaves out other images, which do not fill a last batch."""
        rank, ranks = self.rank
        per_rank = self.share_of_batch(self._section.batch_size, len(self._train))
        steps = len(self._train) // (per_rank * ranks)

        def batches(epoch: int, start: int) -> Iterator[Batch]:
            order = self._train[self._drawn(np.random.default_rng([self.order_seed, ORDER, epoch]))]
            mine = [order[(k * ranks + rank) * per_rank :][:per_rank] for k in range(start, steps)]
            return self._batches(self._source.train, mine, (self.order_seed, CROP, epoch))

        return EpochLoader(batches, steps)

    def _drawn(self, rng: np.random.Generator) -> Indices:
        """The training images of an epoch, in their order."""
        count = len(self._train)
        if self._section.sampling == "all":
            return rng.permutation(count)
        strata_N = self._task.strata(self._source.train.targets_N[self._train])
        share_N = 1 / np.bincount(strata_N)[strata_N]
        return rng.choice(count, count, p=share_N / share_N.sum())

    def val_dataloader(self) -> EpochLoader:
        """Batches with all strata each, because a supernet is validated with the statistics of the batch."""
        strata_N = self._task.strata(self._compared.targets_N[self._validation])
        order = stratified_order(strata_N, np.random.default_rng(0))
        return self._in_order(self._compared, self._validation[order])

    def test_dataloader(self) -> EpochLoader:
        return self._in_order(self._source.test, np.arange(len(self._source.test.targets_N)))

    def augment(self, batch: Batch, epoch: int, index: int, rank: int = 0, ranks: int = 1) -> Batch:
        """The share of `rank` in batch `index` of `epoch`, augmented on the batch's device; maps as targets too."""
        return self._augmentation(batch, [self.order_seed, AUGMENT, epoch, index], Share(rank, ranks))

    @cached_property
    def _augmentation(self) -> Augmentation:
        return Augmentation(self._section.augment, *self.statistics, self._task.target_fill, self._transforms)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Lightning's hook, after a batch has arrived at the device: augment a training batch."""
        if self.trainer is None or not self.trainer.training:
            return batch
        epoch, index = self.trainer.train_dataloader.position  # type: ignore[union-attr]
        return self.augment(batch, epoch, index, *self.rank)

    @cached_property
    def calibration(self) -> Tensor:
        """Images of training, in an order of which every part has all strata: batch norms, and 8-bit ranges, are
        calibrated by parts."""
        return normalise(self._source.train.read(self._calibration), *self.statistics)

    @cached_property
    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel in levels of 255, of the train split.

        Of calibration instead, where the images are not in memory."""
        in_memory = isinstance(self._source.train, InMemory)
        return statistics(self._source.train, self._train if in_memory else self._calibration)

    @property
    def target_statistics(self) -> tuple[Tensor, Tensor]:
        return spread_of(torch.from_numpy(self._source.train.targets_N[self._train]))

    @property
    def class_counts(self) -> Tensor:
        chunks = range(0, len(self._train), CHUNK)
        targets = (self._source.train.targets_N[self._train[start : start + CHUNK]] for start in chunks)
        counts = [self._task.class_counts(torch.from_numpy(some_B), len(self.outputs)) for some_B in targets]
        return torch.stack(counts).sum(0)

    @cached_property
    def fingerprint(self) -> str:
        content = f"{self._source.digest} {self.outputs}"
        return split_digest(content, self._train, np.sort(self._calibration), self._validation)

    def _in_order(self, images: Images, indices: Indices) -> EpochLoader:
        size = self._section.batch_size
        parts = [indices[start : start + size] for start in range(0, len(indices), size)]
        if len(parts) > 1 and len(parts[-1]) == 1:  # its statistics need two values, and a map may have one pixel
            parts[-2:] = [np.concatenate(parts[-2:])]
        return EpochLoader(lambda epoch, start: self._batches(images, parts[start:]), len(parts))

    def _batches(self, images: Images, batches: list[Indices], key: Sequence[int] | None = None) -> Iterator[Batch]:
        for pixels_BHWC, indices in zip(images.stream(batches, key), batches, strict=True):
            yield normalise(pixels_BHWC, *self.statistics), torch.from_numpy(images.targets_N[indices])


def _split(source: Source, strata_N: Strata, share: float, seed: int) -> tuple[Indices, Indices]:
    """Indices of the images for training, and of those of search validation. Raises SweepError for too few."""
    if source.validation is not None:
        train, held_out = np.arange(len(strata_N)), np.arange(len(source.validation.targets_N))
    else:
        train, held_out = hold_out(source.names, strata_N, share, seed)
    if len(train) < 2 or not len(held_out):
        raise SweepError(
            f"data.validation must leave 2 images for training and hold out 1, but {share} of "
            f"{plural(len(strata_N), 'image')} holds out {len(held_out)}; change data.validation or add images"
        )
    return train, held_out
