"""Anyone's LightningDataModule, named by import path, as the data of a sweep.

It normalises and augments by itself. What it draws from torch's generator is seeded here by (seed, epoch, batch), so
that its batches repeat; to go on in the middle of an epoch, the batches before are read again and dropped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor

from ffnet_search.config.schema import DataSection
from ffnet_search.data.datamodule import ORDER, Data
from ffnet_search.data.resumable_loader import Batch, EpochLoader
from ffnet_search.errors import SweepError
from ffnet_search.plugins import check_arguments, find_class
from ffnet_search.space.architecture import Input

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


class UserData(Data):
    """`data.name: my_package.my_module:MyData`, made with `data.init_args`.

    It must offer train, val and test loaders of (images, labels) that know their lengths. Optional attributes:
    `classes` (names) and `calibration` (training images as the network sees them but un-augmented, (N, C, H, W));
    without the latter, calibration is what its first training batches hold.
    """

    def __init__(self, data: DataSection, seed: int, input: Input) -> None:
        super().__init__()
        self._data, self._seed, self._input = data, seed, input
        self.module = find_data(data)(**data.init_args)
        self.module.prepare_data()
        self.module.setup("fit")
        self.module.setup("test")
        loader = self.module.train_dataloader()
        if not hasattr(loader, "__len__"):
            raise SweepError(f"data.name: train_dataloader of {data.name} must have a length, but has none")
        dataset: Any = getattr(loader, "dataset", None)
        self.train_images = len(dataset) if hasattr(dataset, "__len__") else len(loader) * data.batch_size
        self.classes = tuple(getattr(self.module, "classes", None) or map(str, range(input.outputs)))
        if len(self.classes) != input.outputs:
            raise SweepError(
                f"data.name: {data.name} has {len(self.classes)} classes, but the search space has input.classes "
                f"{input.outputs}; set input.classes: {len(self.classes)} in the search space's file"
            )
        self._must_match(next(iter(self.module.val_dataloader())), "val_dataloader")

    def train_dataloader(self) -> EpochLoader:
        """Across several ranks, each trains on its share of every batch; all of them read everything."""
        loader = self.module.train_dataloader()
        rank, ranks = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

        def batches(epoch: int, start: int) -> Iterator[Batch]:
            if hasattr(getattr(loader, "sampler", None), "set_epoch"):
                loader.sampler.set_epoch(epoch)
            with _seeded(self._seed, ORDER, epoch):  # the order, and the seeds of the workers
                iterator = iter(loader)
            for index in range(len(loader)):
                with _seeded(self._seed, ORDER, epoch, index):
                    batch = next(iterator)
                if index >= start:
                    yield batch if ranks == 1 else _share(batch, rank, ranks)

        return EpochLoader(batches, len(loader))

    def val_dataloader(self) -> Any:
        return self.module.val_dataloader()

    def test_dataloader(self) -> Any:
        return self.module.test_dataloader()

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        self.module.trainer = self.trainer
        return self.module.on_before_batch_transfer(batch, dataloader_idx)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return self.module.transfer_batch_to_device(batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return self.module.on_after_batch_transfer(batch, dataloader_idx)

    @cached_property
    def calibration(self) -> Tensor:
        given = getattr(self.module, "calibration", None)
        if given is not None:
            images_BCHW = given() if callable(given) else given
            self._must_match((images_BCHW, torch.zeros(1, dtype=torch.int64)), "calibration")
            return images_BCHW[: self._data.calibration]
        found: list[Tensor] = []
        for images_BCHW, _ in self.train_dataloader():
            found.append(images_BCHW)
            if sum(map(len, found)) >= self._data.calibration:
                break
        return torch.cat(found)[: self._data.calibration]

    @cached_property
    def fingerprint(self) -> str:
        """Of the module's name and arguments, how many images it has, and the calibration images: all we can read."""
        sha = hashlib.sha256(f"{self._data.name} {sorted(self._data.init_args.items())} {self.train_images}".encode())
        sha.update(self.calibration.contiguous().numpy().tobytes())
        return sha.hexdigest()

    def _must_match(self, batch: Any, place: str) -> None:
        shape = (self._input.channels, self._input.resolution, self._input.resolution)
        pair = isinstance(batch, list | tuple) and len(batch) == 2 and all(isinstance(part, Tensor) for part in batch)
        images, labels = batch if pair else (torch.empty(0), torch.empty(0))
        right = images.dtype == torch.float32 and labels.dtype == torch.int64 and tuple(images.shape[1:]) == shape
        if not right:
            found = f"{images.dtype} {tuple(images.shape)} and {labels.dtype}" if pair else type(batch).__name__
            raise SweepError(
                f"data.name: {place} of {self._data.name} must give float32 images of {shape} (input in the search "
                f"space's file) and int64 labels, but gave {found}"
            )


def find_data(data: DataSection) -> type[LightningDataModule]:
    """The class that `data.name` names. Raises SweepError where that is none, or does not take `data.init_args`."""
    found = find_class(data.name, "data.name", LightningDataModule)
    missing = [method for method in LOADERS if not is_overridden(method, found, LightningDataModule)]
    if missing:
        raise SweepError(f"data.name: {data.name} must offer {', '.join(LOADERS)}, but lacks {', '.join(missing)}")
    check_arguments(found, data.init_args, "data.init_args")
    return found


def _share(batch: Batch, rank: int, ranks: int) -> Batch:
    """As large for each rank; a last batch that is smaller than there are ranks goes to each."""
    images_BCHW, labels_B = batch
    share = len(labels_B) // ranks
    mine = slice(rank * share, (rank + 1) * share) if share else slice(None)
    return images_BCHW[mine], labels_B[mine]


@contextmanager
def _seeded(*key: int) -> Iterator[None]:
    """torch's CPU generator seeded for a while; those of the GPUs, which training draws from, are left alone."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
    try:
        yield
    finally:
        torch.set_rng_state(state)
