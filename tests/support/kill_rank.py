"""A callback by which a rank dies at a certain batch, and an engine by which a search does."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from ffnet_search.engines.local import LocalEngine
from ffnet_search.evaluation.outcome import Ended
from ffnet_search.space.hyperparameters import Configuration

DIES_AT = "DIES_AT"  # the evaluation of this process at which it is killed; in the environment


class KillRank(Callback):
    """Kill a rank at a batch of the training, the first `times` times; a file in `marks` counts each."""

    def __init__(self, batch: int, marks: str, times: int = 1, rank: int = 1) -> None:
        self.batch, self.marks, self.times, self.rank = batch, Path(marks), times, rank

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, index: int) -> None:
        is_due = trainer.global_rank == self.rank and trainer.fit_loop.total_batch_idx >= self.batch
        if is_due and len(list(self.marks.iterdir())) < self.times:
            (self.marks / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)


class MortalEngine(LocalEngine):
    """Evaluates in this process, which is killed where the environment says so."""

    evaluated = 0

    def next(self) -> tuple[Configuration, Ended]:
        if str(self.evaluated) == os.environ.get(DIES_AT):
            os.kill(os.getpid(), signal.SIGKILL)
        self.evaluated += 1
        return super().next()
