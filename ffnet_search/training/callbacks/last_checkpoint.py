"""The checkpoint that a stopped training resumes from."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from ffnet_search.training.checkpoints import save_checkpoint
from ffnet_search.training.modules import FFNetModule


class LastCheckpoint(Callback):
    """One checkpoint, replaced whole: at the end of each epoch and at an interval in minutes."""

    def __init__(self, path: Path, minutes: float, on_checkpoint: Callable[[Path], object] | None) -> None:
        self.path, self.seconds, self.on_checkpoint = path, 60 * minutes, on_checkpoint
        self.saved = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        assert isinstance(module, FFNetModule)
        if module.kept or not module.may_synchronise(module.step):  # batches of half a step are not in a checkpoint
            return
        if trainer.strategy.reduce_boolean_decision(time.monotonic() - self.saved >= self.seconds, all=False):
            self._save(trainer, module)  # a collective operation: all ranks take part

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._save(trainer, module)

    def _save(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, FFNetModule)
        module.check_finite()
        save_checkpoint(trainer, self.path)
        if self.on_checkpoint is not None and trainer.is_global_zero:
            self.on_checkpoint(self.path)
        self.saved = time.monotonic()
