"""FFNet-TS as a LightningModule for `module.class_path`: squared or absolute error of standardised series, Adam.

The rate stays for the first epochs and then falls by a factor an epoch, as in the reference's scripts. Shape keys: B
batch, L past steps, S future steps, M variables.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightning import LightningModule
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MeanAbsoluteError, MeanSquaredError

from ffnet_search.errors import SweepError
from ffnet_search.forecasting.network import STRIDE, FFNetTs, SeriesShape

CONSTANT_EPOCHS = 4
DECAY = 0.9  # of the rate, for each epoch after those

Batch = tuple[Tensor, Tensor]  # past (B, L, M), future (B, S, M)


class Forecaster(LightningModule):
    """Logs `val_mse` and `val_mae` in every epoch, and `test_mse` and `test_mae` when it is exported.

    `shape`: variables, past steps (an even number), future steps. `dim`: features of a patch; `kernel`: of the large
    convolutions, in patches of two steps (odd); `ratio`: of the channel mixer; `dropout`: of its first layer.
    Raises SweepError if they make no network."""

    def __init__(
        self,
        shape: Sequence[int] = (7, 96, 96),
        dim: int = 64,
        kernel: int = 51,
        ratio: int = 2,
        dropout: float = 0.3,
        learning_rate: float = 1e-3,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if len(shape) != 3 or min(shape) < 1 or shape[1] % STRIDE:
            raise SweepError(f"module.init_args.shape must be variables, past (even) and future steps, but got {shape}")
        for name, value in (("dim", dim), ("kernel", kernel), ("ratio", ratio)):
            if value < 1 or (name == "kernel" and not value % 2):
                raise SweepError(f"module.init_args.{name} must be >= 1, and a kernel odd, but got {value}")
        self.learning_rate = learning_rate
        self.net = FFNetTs(SeriesShape(*shape), dim, kernel, ratio, dropout)
        self.example_input_array = torch.zeros(1, shape[1], shape[0])  # for ONNX and the latency
        self.val_mse, self.val_mae = MeanSquaredError(), MeanAbsoluteError()
        self.test_mse, self.test_mae = MeanSquaredError(), MeanAbsoluteError()

    def forward(self, x_BLM: Tensor) -> Tensor:
        y_BSM: Tensor = self.net(x_BLM)
        return y_BSM

    def loss(self, y_BSM: Tensor, target_BSM: Tensor) -> Tensor:
        """The mean squared error, as the reference has it."""
        return F.mse_loss(y_BSM, target_BSM)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.loss(self(batch[0]), batch[1])

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._log(batch, val_mse=self.val_mse, val_mae=self.val_mae)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._log(batch, test_mse=self.test_mse, test_mae=self.test_mae)

    def _log(self, batch: Batch, **metrics: MeanSquaredError | MeanAbsoluteError) -> None:
        y_BSM, target_BSM = self(batch[0]).contiguous(), batch[1].contiguous()
        for name, metric in metrics.items():
            metric.update(y_BSM, target_BSM)  # a call would compute the error of each batch too
            self.log(name, metric, on_epoch=True, on_step=False)

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LambdaLR]]:
        optimizer = torch.optim.Adam(self.parameters(), self.learning_rate)
        return [optimizer], [LambdaLR(optimizer, lambda epoch: DECAY ** max(0, epoch - CONSTANT_EPOCHS + 1))]


class RobustForecaster(Forecaster):
    """The same network, trained by the mean absolute error, which outliers move less."""

    def loss(self, y_BSM: Tensor, target_BSM: Tensor) -> Tensor:
        return F.l1_loss(y_BSM, target_BSM)
