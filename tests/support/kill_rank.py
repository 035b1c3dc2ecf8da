"""A callback by which a rank dies at a certain batch."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer


class KillRank(Callback):
    """Kill rank 1 at a batch of the training, the first `times` times; a file in `marks` counts each."""

    def __init__(self, batch: int, marks: str, times: int = 1) -> None:
        self.batch, self.marks, self.times = batch, Path(marks), times

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, index: int) -> None:
        is_due = trainer.global_rank == 1 and trainer.fit_loop.total_batch_idx >= self.batch
        if is_due and len(list(self.marks.iterdir())) < self.times:
            (self.marks / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
