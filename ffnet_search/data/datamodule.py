"""The data of a sweep for Lightning's Trainer: four splits, their loaders, and the augmentation of training batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from ffnet_search.config.schema import DataSection
from ffnet_search.data.dataset import Images, Indices, InMemory, Source, split, stratified_order
from ffnet_search.data.resumable_loader import Batch, EpochLoader
from ffnet_search.data.transforms import augment_batch, normalise, statistics
from ffnet_search.errors import SweepError

# What is drawn from the sweep's seed, each in a stream of its own: numpy.random.default_rng([seed, stream, ...]).
VALIDATION, CALIBRATION, ORDER, CROP, AUGMENT = range(5)


class Data(LightningDataModule):
    """What training, evaluation and export are given. Hand it to the Trainer as `datamodule=`.

    `train_dataloader`, `val_dataloader` (search validation) and `test_dataloader` (for export only) give tuples of
    normalised images, float32 (B, C, H, W), and labels, int64 (B,).
    """

    classes: tuple[str, ...]
    train_images: int  # without search validation

    @property
    def calibration(self) -> Tensor:
        """Training images without augmentation, normalised, in memory: float32 (N, C, H, W)."""
        raise NotImplementedError

    @property
    def fingerprint(self) -> str:
        """sha256 of the content and of how it is split."""
        raise NotImplementedError


class ImageData(Data):
    """A `Source`, split by class from the seed: train (of which calibration is a part) and search validation.

    What batch k of epoch e holds, and how it is augmented, is a function of (seed, e, k): resumed runs see the same.
    Across several ranks each trains on its share of every batch, so that together they see the batches of one, and each
    validates on everything.
    """

    def __init__(self, source: Source, data: DataSection, seed: int) -> None:
        super().__init__()
        self.classes = source.classes
        self._source, self._data, self._seed = source, data, seed
        labels_N = source.train.labels_N
        self._train, self._validation = split(labels_N, data.validation, np.random.default_rng([seed, VALIDATION]))
        if len(self._train) < 2 or not len(self._validation):
            raise SweepError(
                f"data.validation must leave 2 images for training and hold out 1, but {data.validation} of "
                f"{len(labels_N)} images holds out {len(self._validation)}; change data.validation or add images"
            )
        order = stratified_order(labels_N[self._train], np.random.default_rng([seed, CALIBRATION]))
        self._calibration = np.sort(self._train[order[: data.calibration]])
        self.train_images = len(self._train)

    def train_dataloader(self) -> EpochLoader:
        """Shuffled; the images that do not fill a last batch are left out, others in every epoch."""
        rank, ranks = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        per_rank = min(self._data.batch_size, len(self._train)) // ranks

        def batches(epoch: int, start: int) -> Iterator[Batch]:
            order = self._train[np.random.default_rng([self._seed, ORDER, epoch]).permutation(len(self._train))]
            mine = [order[(k * ranks + rank) * per_rank :][:per_rank] for k in range(start, steps)]
            return self._batches(self._source.train, mine, (self._seed, CROP, epoch))

        steps = len(self._train) // (per_rank * ranks)
        return EpochLoader(batches, steps)

    def val_dataloader(self) -> EpochLoader:
        """In an order in which every batch has all classes: the supernet is looked at with a batch's statistics."""
        order = stratified_order(self._source.train.labels_N[self._validation], np.random.default_rng(0))
        return self._in_order(self._source.train, self._validation[order])

    def test_dataloader(self) -> EpochLoader:
        return self._in_order(self._source.test, np.arange(len(self._source.test.labels_N)))

    def augment(self, images_BCHW: Tensor, epoch: int, batch: int, rank: int = 0, ranks: int = 1) -> Tensor:
        """The share of `rank` in batch `batch` of `epoch`, augmented on the device where it is."""
        key = [self._seed, AUGMENT, epoch, batch, 0]
        draw = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(draw >> np.uint64(1)))
        return augment_batch(images_BCHW, self._data.augment, generator, rank, ranks)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Lightning's hook, after a batch has arrived at the device."""
        if self.trainer is None or not self.trainer.training:
            return batch
        images_BCHW, labels_B = batch
        epoch, index = self.trainer.train_dataloader.position  # type: ignore[union-attr]
        return self.augment(images_BCHW, epoch, index, self.trainer.global_rank, self.trainer.world_size), labels_B

    @cached_property
    def calibration(self) -> Tensor:
        return normalise(self._source.train.read(self._calibration), *self.statistics)

    @cached_property
    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel in levels of 255: of the train split, or, where that is not in
        memory, of calibration."""
        whole = isinstance(self._source.train, InMemory)
        return statistics(self._source.train, self._train if whole else self._calibration)

    @cached_property
    def fingerprint(self) -> str:
        sha = hashlib.sha256(f"{self._source.digest} {self.classes}".encode())
        for part in (self._train, self._calibration, self._validation):
            sha.update(hashlib.sha256(part.astype("<i8").tobytes()).digest())
        return sha.hexdigest()

    def _in_order(self, images: Images, indices: Indices) -> EpochLoader:
        size = self._data.batch_size
        parts = [indices[at : at + size] for at in range(0, len(indices), size)]
        return EpochLoader(lambda epoch, start: self._batches(images, parts[start:]), len(parts))

    def _batches(self, images: Images, batches: list[Indices], key: Sequence[int] | None = None) -> Iterator[Batch]:
        for pixels_BHWC, indices in zip(images.stream(batches, key), batches, strict=True):
            yield normalise(pixels_BHWC, *self.statistics), torch.from_numpy(images.labels_N[indices])
