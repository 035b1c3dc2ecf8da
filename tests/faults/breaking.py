"""A LightningModule and its data, whose training breaks once where the file `hurt` beside the sweep says how."""

from __future__ import annotations

import math
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path

import torch
from lightning import LightningDataModule, LightningModule
from starts import HURT, KILLED, REFUSED
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset


class Net(LightningModule):
    """One layer, whose logged loss is known: all widths are on the front."""

    def __init__(self, width: int = 1) -> None:
        super().__init__()
        self.width, self.layer = width, torch.nn.Linear(4, width)
        self.factor = 1.0

    def on_train_start(self) -> None:
        with suppress(FileNotFoundError):
            taken = HURT.rename(HURT.with_name(f"hurt.{os.getpid()}"))
            how = taken.read_text()
            taken.unlink()
            if how == KILLED:  # as the kernel does where memory ends
                os.kill(os.getpid(), signal.SIGKILL)
            if how == REFUSED:
                take_all_memory()
            self.factor = math.nan

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        return self.layer(batch[0]).square().mean() * self.factor

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        self.log_dict({"loss": self.factor / self.width, "size": float(self.width)})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def take_all_memory() -> None:
    """Raise what PyTorch raises where memory is limited and spent."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (1 << 28), hard))
    try:
        held = []
        while True:
            held.append(torch.ones(1 << 24))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class Data(LightningDataModule):
    """Random points."""

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(TensorDataset(torch.randn(64, 4)), 16)

    val_dataloader = train_dataloader
