"""A user-supplied LightningDataModule, named by import path, as the data of a sweep.

It normalises and augments its images by itself. Its draws from the generators of torch, NumPy and Python are seeded
here by (seed, epoch, batch), so that its batches repeat; to resume in the middle of an epoch, the batches before are
read again and dropped.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from functools import cache, cached_property
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor

from ffnet_search.config.schema import DataSection
from ffnet_search.data.augmentation.seeded import seeded
from ffnet_search.data.dataset import must_match
from ffnet_search.data.modules.base import Data
from ffnet_search.data.modules.epoch_loader import Batch, EpochLoader
from ffnet_search.data.modules.image_data import ORDER
from ffnet_search.data.modules.normalisation import spread_of
from ffnet_search.errors import SweepError
from ffnet_search.plugins import check_arguments, find_class
from ffnet_search.space.input import Input
from ffnet_search.tasks.base import task_of

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


class UserData(Data):
    """`data.name: my_package.my_module:MyData`, made with `data.init_args`.

    It must offer train, val and test loaders of (images, targets) with lengths. Its hooks on batches, before, at and
    after the transfer, apply to every batch: in training by Lightning's Trainer, elsewhere by `_Prepared`. Optional
    attributes: the names of the outputs (`classes`, by the task's word), and `calibration` (training images as the
    network sees them but without augmentation, (N, C, H, W)); without it, the images of its first training batches
    calibrate."""

    def __init__(self, section: DataSection, seed: int, input: Input) -> None:
        super().__init__()
        self._section, self._input, self._task = section, input, task_of(input)
        self.order_seed = seed
        self.module = make_module(section)
        missing = [method for method in LOADERS if not is_overridden(method, self.module)]
        if missing:
            lacking = ", ".join(missing)
            raise SweepError(f"data.name: {section.name} must offer {', '.join(LOADERS)}, but lacks {lacking}")
        self.module.prepare_data()
        self.module.setup("fit")
        self.module.setup("test")
        loader = self.module.train_dataloader()
        dataset: Any = getattr(loader, "dataset", None)
        self.outputs = ()
        if self._task.names_outputs:
            given = getattr(self.module, self._task.outputs_word, None)
            names = given if isinstance(given, list | tuple) and given else range(input.outputs)
            must_match(section, input, outputs=len(names))
            self.outputs = tuple(str(name) for name in names)
        with seeded(seed, ORDER, 0):  # a loader may draw its order when it is asked for its first batch
            for name in LOADERS:
                self._check_loader(name)
        self.train_images = len(dataset) if hasattr(dataset, "__len__") else len(loader) * section.batch_size

    def train_dataloader(self) -> EpochLoader:
        """Each of several ranks trains on its share of every batch; all of them read everything."""
        loader = self.module.train_dataloader()
        rank, ranks = self.rank

        def batches(epoch: int, start: int) -> Iterator[Batch]:
            if hasattr(getattr(loader, "sampler", None), "set_epoch"):
                loader.sampler.set_epoch(epoch)
            with seeded(self.order_seed, ORDER, epoch):  # the order, and the seeds of the workers
                iterator = iter(loader)
            for index in range(len(loader)):
                with seeded(self.order_seed, ORDER, epoch, index):
                    batch = next(iterator)
                if index >= start:
                    yield batch if ranks == 1 else _share(batch, rank, ranks)

        return EpochLoader(batches, len(loader))

    def val_dataloader(self) -> _Prepared:
        return self._prepared("val_dataloader")

    def test_dataloader(self) -> _Prepared:
        return self._prepared("test_dataloader")

    def _prepared(self, name: str) -> _Prepared:
        return _Prepared(self, getattr(self.module, name)(), name)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if not self._is_training:
            return batch
        self.module.trainer = self.trainer
        return self.module.on_before_batch_transfer(batch, dataloader_idx)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        if not self._is_training:
            return super().transfer_batch_to_device(batch, device, dataloader_idx)
        return self.module.transfer_batch_to_device(batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if not self._is_training:
            return batch
        batch = self.module.on_after_batch_transfer(batch, dataloader_idx)
        if self.trainer.current_epoch == 0:  # type: ignore[union-attr]  # looking at values waits for an accelerator
            self.check_batch(batch, "train_dataloader")
        return batch

    @property
    def _is_training(self) -> bool:
        return self.trainer is not None and self.trainer.training

    @cached_property
    def calibration(self) -> Tensor:
        given = getattr(self.module, "calibration", None)
        if given is not None:
            images_NCHW: Tensor = given() if callable(given) else given
            self._check_images(images_NCHW, "calibration")
            return images_NCHW[: self._section.calibration]
        parts: list[Tensor] = []
        for images_BCHW, _ in _Prepared(self, self.train_dataloader(), "train_dataloader"):
            parts.append(images_BCHW)
            if sum(map(len, parts)) >= self._section.calibration:
                break
        return torch.cat(parts)[: self._section.calibration]

    @cached_property
    def class_counts(self) -> Tensor:
        """Counts of the images in an epoch of its training batches."""
        outputs = len(self.outputs)
        with seeded(self.order_seed, ORDER, 0):
            counts = [self._task.class_counts(target_B, outputs) for _, target_B in self._prepared("train_dataloader")]
        return torch.stack(counts).sum(0)

    @cached_property
    def target_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and spread of the targets of the images in an epoch of its training batches."""
        with seeded(self.order_seed, ORDER, 0):
            targets = [target_BK for _, target_BK in self._prepared("train_dataloader")]
        return spread_of(torch.cat(targets))

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of the readable part: the module's name and arguments, its size, and the calibration images."""
        name, arguments = self._section.name, sorted(self._section.init_args.items())
        sha = hashlib.sha256(f"{name} {arguments} {self.train_images}".encode())
        sha.update(self.calibration.contiguous().numpy().tobytes())
        return sha.hexdigest()

    def _check_loader(self, name: str) -> None:
        """Raise SweepError if a loader has no length, or its first batch is none that `check_batch` accepts."""
        loader = getattr(self.module, name)()
        if not hasattr(loader, "__len__"):
            raise SweepError(f"data.name: {name} of {self._section.name} must have a length, but has none")
        if next(iter(_Prepared(self, loader, name)), None) is None:
            raise self._error(name, "at least one batch", "none")

    def check_batch(self, batch: Any, place: str) -> None:
        """Raise SweepError if a batch of `place` is no pair of images and targets of the input and the task."""
        task = self._task
        if not (isinstance(batch, list | tuple) and len(batch) == 2 and all(isinstance(x, Tensor) for x in batch)):
            raise self._error(place, f"pairs of images and {task.target_words}", type(batch).__name__)
        images_BCHW, target_B = batch
        self._check_images(images_BCHW, place, any_size=task.any_size)
        got = f"{target_B.dtype} {tuple(target_B.shape)}"
        if not task.accepts(target_B):
            raise self._error(place, task.target_words, got)
        mismatch = task.mismatch(images_BCHW, target_B, self._input)
        if mismatch:
            values = f" of {target_B.min():g} to {target_B.max():g}" if target_B.numel() else ""
            raise self._error(place, f"{task.target_words}, {mismatch}", f"{got}{values}")

    def _check_images(self, images_NCHW: Tensor, place: str, any_size: bool = False) -> None:
        shape = self._input.shape
        kept = slice(1, 2) if any_size else slice(1, None)
        fits = tuple(images_NCHW.shape[kept]) == (shape[:1] if any_size else shape) and images_NCHW.ndim == 4
        if images_NCHW.dtype != torch.float32 or not fits:
            wanted = f"float32 images of {shape} (input in the search space's file)"
            raise self._error(place, wanted, f"{images_NCHW.dtype} {tuple(images_NCHW.shape)}")

    def _error(self, place: str, wanted: str, got: str) -> SweepError:
        return SweepError(f"data.name: {place} of {self._section.name} must give {wanted}, but gave {got}")


def make_module(section: DataSection) -> LightningDataModule:
    """The data module that a section names. Raises SweepError where it does not exist or take its arguments."""
    kind = find_class(section.name, "data.name", LightningDataModule)
    check_arguments(kind, section.init_args, "data.init_args")
    module: LightningDataModule = kind(**section.init_args)
    return module


class _Prepared:
    """The batches of a loader as evaluation sees them: on the CPU, after the module's hooks, under a Trainer that
    validates. Raises SweepError for a batch that is not as the task has them."""

    def __init__(self, data: UserData, loader: Any, place: str) -> None:
        self.data, self.module, self.loader, self.place = data, data.module, loader, place

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        trainer = _validating()
        for batch in self.loader:
            before, self.module.trainer = self.module.trainer, trainer
            try:
                batch = self.module.on_before_batch_transfer(batch, 0)
                batch = self.module.transfer_batch_to_device(batch, torch.device("cpu"), 0)
                batch = self.module.on_after_batch_transfer(batch, 0)
            finally:
                self.module.trainer = before
            self.data.check_batch(batch, self.place)
            yield batch


@cache
def _validating() -> Trainer:
    """A Trainer whose `training` is false and whose `validating` is true, for hooks that ask it."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)  # its notes on this machine's hardware are of no use
    try:
        trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    finally:
        logger.setLevel(level)
    trainer.validating = True
    return trainer


def _share(batch: Batch, rank: int, ranks: int) -> Batch:
    """The share of one rank, of one size for all; a batch with fewer images than ranks is given to each as a whole."""
    images_BCHW, target_B = batch
    share = len(target_B) // ranks
    mine = slice(rank * share, (rank + 1) * share) if share else slice(None)
    return images_BCHW[mine], target_B[mine]
