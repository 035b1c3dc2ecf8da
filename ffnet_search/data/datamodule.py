"""The data of a sweep for Lightning's Trainer: four splits, their loaders, augmentation and normalisation."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
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
    Pixels,
    Source,
    Strata,
    hold_out,
    refuse_given_validation,
    stratified_order,
)
from ffnet_search.errors import SweepError
from ffnet_search.tasks.base import Task

Batch = tuple[Tensor, Tensor]  # images float32 (B, C, H, W), targets (B, ...)
# Random streams of a sweep's seed, one per purpose: numpy.random.default_rng([seed, stream, ...]).
CALIBRATION, ORDER, CROP, AUGMENT, FOLDS = range(1, 6)  # 0: dataset.VALIDATION_STREAM
CALIBRATION_PIXELS = 1 << 23  # of a dense task's calibration images together: 32 of 512 x 512
LEAST_STD = 1.0  # levels of 255, for a channel that hardly varies
CHUNK = 1024  # images summed at once


class EpochLoader:
    """Iterates over one epoch. Batch k of epoch e is a function of (e, k) alone: `batches(e, k)` starts there.

    Lightning's Trainer numbers the epochs (`set_epoch`, through the attribute `sampler`), keeps `state_dict` in every
    checkpoint and loads it before it resumes. A plain loop calls `set_epoch` before each epoch."""

    batch_sampler = None  # Lightning reads it from an object with a `sampler`

    def __init__(self, batches: Callable[[int, int], Iterator[Batch]], length: int) -> None:
        self._batches = batches
        self._length = length
        self._epoch = 0
        self._starts: dict[int, int] = {}  # the epoch to resume -> its first batch
        self.position = (0, -1)  # epoch and index of the last batch

    def __len__(self) -> int:
        """The batches of a whole epoch, also where this one started in the middle."""
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        # The Trainer makes the first iterator before it names the epoch: nothing may be read until the first `next`.
        epoch, start = self._epoch, self._starts.get(self._epoch, 0)
        self._starts = {}
        for index, content in enumerate(self._batches(epoch, start), start):
            self.position = (epoch, index)
            yield content

    @property
    def sampler(self) -> EpochLoader:
        """The object on which Lightning calls `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        """The place of the next batch."""
        epoch, index = self.position
        return {"epoch": epoch, "batch": index + 1}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Start the next iteration with the batch of `state`, if it is one of its epoch."""
        self._epoch, batch = state["epoch"], state["batch"]
        self._starts = {self._epoch: batch}
        self.position = (self._epoch, batch - 1)


class Data(LightningDataModule):
    """The data of training, evaluation and export. Hand it to the Trainer as `datamodule=`.

    `train_dataloader`, `val_dataloader` (search validation) and `test_dataloader` (for export only) give tuples of
    normalised images, float32 (B, C, H, W), and targets (B, ...) of the task."""

    outputs: tuple[str, ...]  # names of a network's outputs, in their order
    train_images: int  # without search validation
    order_seed: int  # of the order and the augmentation of training images; the seed of the split, unless it is changed

    @property
    def calibration(self) -> Tensor:
        """Training images without augmentation, normalised, in memory: float32 (N, C, H, W)."""
        raise NotImplementedError

    @property
    def fingerprint(self) -> str:
        """The sha256 of the content and of its split."""
        raise NotImplementedError

    @property
    def class_counts(self) -> Tensor:
        """Counts of what has each class, and has it not, in the training images, int64 (2, K): `Task.class_counts`."""
        raise NotImplementedError

    @property
    def target_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and spread of each target, float32 (K,), of training images; for tasks that standardise them."""
        raise NotImplementedError

    @property
    def rank(self) -> tuple[int, int]:
        """This process's rank, and the number of ranks that train together."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


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
        self._calibration = np.sort(self._train[order[: min(section.calibration, CALIBRATION_PIXELS // pixels)]])
        self.train_images = len(self._train)

    def train_dataloader(self) -> EpochLoader:
        """Shuffled batches; each epoch leaves out other images, which do not fill a last batch."""
        rank, ranks = self.rank
        per_rank = min(self._section.batch_size, len(self._train)) // ranks
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
        sha = hashlib.sha256(f"{self._source.digest} {self.outputs}".encode())
        for part in (self._train, self._calibration, self._validation):
            sha.update(hashlib.sha256(part.astype("<i8").tobytes()).digest())
        return sha.hexdigest()

    def _in_order(self, images: Images, indices: Indices) -> EpochLoader:
        size = self._section.batch_size
        parts = [indices[at : at + size] for at in range(0, len(indices), size)]
        if len(parts) > 1 and len(parts[-1]) == 1:  # its statistics need two values, and a map may have one pixel
            parts[-2:] = [np.concatenate(parts[-2:])]
        return EpochLoader(lambda epoch, start: self._batches(images, parts[start:]), len(parts))

    def _batches(self, images: Images, batches: list[Indices], key: Sequence[int] | None = None) -> Iterator[Batch]:
        for pixels_BHWC, indices in zip(images.stream(batches, key), batches, strict=True):
            yield normalise(pixels_BHWC, *self.statistics), torch.from_numpy(images.targets_N[indices])


def spread_of(targets_NK: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each target, float32 (K,); a target that does not vary has the spread 1."""
    spread_K, mean_K = torch.std_mean(targets_NK.double(), 0, correction=0)
    return mean_K.float(), torch.where(spread_K > 0, spread_K, 1.0).float()


def _split(source: Source, strata_N: Strata, share: float, seed: int) -> tuple[Indices, Indices]:
    """Indices of the images for training, and of those of search validation. Raises SweepError for too few."""
    if source.validation is not None:
        train, held_out = np.arange(len(strata_N)), np.arange(len(source.validation.targets_N))
    else:
        train, held_out = hold_out(source.names, strata_N, share, seed)
    if len(train) < 2 or not len(held_out):
        raise SweepError(
            f"data.validation must leave 2 images for training and hold out 1, but {share} of {len(strata_N)} images "
            f"holds out {len(held_out)}; change data.validation or add images"
        )
    return train, held_out


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
    std = (squares / count - mean**2).clamp(min=0).sqrt().clamp(min=LEAST_STD)
    return mean.float(), std.float()
