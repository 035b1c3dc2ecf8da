"""What a team brings whose network is not an FFNet: a LightningModule and a LightningDataModule, for tests."""

from __future__ import annotations

import math
import os
import signal

import torch
from lightning import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanSquaredError


class Points(LightningDataModule):
    """y = sin(3 x), with noise."""

    def __init__(self, size: int = 256, batch_size: int = 32) -> None:
        super().__init__()
        self.size, self.batch_size = size, batch_size

    def _loader(self, seed: int, size: int) -> DataLoader[tuple[Tensor, ...]]:
        generator = torch.Generator().manual_seed(seed)
        x_N1 = torch.rand(size, 1, generator=generator) * 2 - 1
        y_N1 = torch.sin(3 * x_N1) + 0.05 * torch.randn(size, 1, generator=generator)
        return DataLoader(TensorDataset(x_N1, y_N1), self.batch_size, shuffle=seed == 0)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader(0, self.size)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader(1, 64)

    def test_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader(2, 64)


class Curve(LightningModule):
    """A multilayer perceptron. A `rate` beyond (0, 1) breaks it: 1 is not a number, more has no memory, less dies."""

    def __init__(self, hidden: int = 8, rate: float = 0.01, act: str = "relu") -> None:
        super().__init__()
        self.save_hyperparameters()
        self.rate = rate
        activation = {"relu": nn.ReLU, "tanh": nn.Tanh}[act]
        self.net = nn.Sequential(nn.Linear(1, hidden), activation(), nn.Linear(hidden, 1))
        self.example_input_array = torch.zeros(1, 1)
        self.val_loss = MeanSquaredError()
        self.test_loss = MeanSquaredError()

    def forward(self, x_B1: Tensor) -> Tensor:
        return self.net(x_B1)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return nn.functional.mse_loss(self(batch[0]), batch[1]) * (1 if self.rate < 1 else math.nan)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.val_loss(self(batch[0]), batch[1])
        self.log("val_loss", self.val_loss)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.test_loss(self(batch[0]), batch[1])
        self.log("test_loss", self.test_loss)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        if self.rate < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.rate > 1:
            raise MemoryError("no free_slots for the optimiser")
        return torch.optim.Adam(self.parameters(), self.rate)


class Dropping(Curve):
    """Draws in each step of training."""

    def forward(self, x_B1: Tensor) -> Tensor:
        return self.net[2](nn.functional.dropout(self.net[:2](x_B1), 0.2, self.training))


class Idle(Curve):
    """Has no optimiser, one of nothing, or one of other tensors."""

    optimisers = {"none": None, "no": [], "others": torch.optim.SGD([torch.zeros(1)])}  # noqa: RUF012

    def __init__(self, kind: str = "none") -> None:
        super().__init__()
        self.kind = kind

    def configure_optimizers(self) -> object:  # type: ignore[override]
        return self.optimisers[self.kind]


class ByHand(Idle):
    """Optimises by itself, with an optimiser that Lightning does not know."""

    automatic_optimization = False

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:  # type: ignore[override]
        optimiser = torch.optim.SGD(self.parameters(), 0.05)
        optimiser.zero_grad()
        nn.functional.mse_loss(self(batch[0]), batch[1]).backward()
        optimiser.step()


class Constant(Idle):
    """A baseline that has nothing to train."""

    def __init__(self, kind: str = "none") -> None:
        super().__init__(kind)
        self.requires_grad_(False)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:  # type: ignore[override]
        return None


class Silent(Curve):
    """Logs nothing."""

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        pass
