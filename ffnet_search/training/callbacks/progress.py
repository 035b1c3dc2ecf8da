"""The progress of a training, as this program shows that of every stage."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from lightning import Callback, LightningModule, Trainer

from ffnet_search.progress import Bar
from ffnet_search.training.modules import FFNetModule


class TrainingProgress(Callback):
    """A bar with images per second, time left, and the qualities of the last validation."""

    def __init__(self, label: str, make_bar: Callable[..., AbstractContextManager[Bar]]) -> None:
        self.label, self.make_bar = label, make_bar
        self.stack, self.bar = ExitStack(), Bar(label, 1, "")
        self.validated = ""

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        total = int(trainer.num_training_batches) * int(trainer.max_epochs or 0)
        done = trainer.fit_loop.total_batch_idx + 1
        self.bar = self.stack.enter_context(self.make_bar(self.label, total, "batches", done=done))
        self.images, self.start = 0, time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        self.images += len(batch[0])
        if trainer.is_global_zero:
            rate = self.images / (time.monotonic() - self.start)
            self.bar.advance(1, f"{rate:.0f} images/s, epoch {trainer.current_epoch + 1}{self.validated}")

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, FFNetModule)
        quality, logged = module.task.quality, module.task.logged_quality
        words = []
        for name, value in sorted(trainer.callback_metrics.items()):
            if name.startswith(logged):
                network = name.removeprefix(logged).strip("_") or quality.word
                words.append(f", {network} {quality.format(float(value))}")
        self.validated = "".join(words)

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        self.stack.__exit__(
            type(exception), exception, exception.__traceback__
        )  # Lightning tears no callback down then

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        self.stack.close()
