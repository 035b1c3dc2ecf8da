"""The time limit of supernet training (`train.minutes`): the learning-rate schedule is shortened to end in time."""

from __future__ import annotations

import time
from typing import Any

from lightning import Callback, LightningModule, Trainer

from ffnet_search.progress import say
from ffnet_search.training.modules import FFNetModule


class TimeBudget(Callback):
    """Ends training after `minutes`, counted over its interruptions.

    The learning rate follows the share of steps or of time that has passed, whichever is larger, so that training ends
    at the floor of the schedule whether or not all epochs fit. All ranks follow the clock of the first. A shortened
    training, unlike one by epochs alone, does not repeat bit by bit."""

    def __init__(self, minutes: float, label: str) -> None:
        self.seconds, self.label = 60 * minutes, label
        self.before = self.now = 0.0  # seconds of training: until this process started, and until now

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.start = time.monotonic()
        self._update(trainer, module)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        self._update(trainer, module)

    def _update(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, FFNetModule)
        self.now = trainer.strategy.broadcast(self.before + time.monotonic() - self.start)
        module.elapsed_share = min(1.0, self.now / self.seconds)
        if module.elapsed_share == 1.0 and not module.kept and not trainer.should_stop:  # never within a step
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.should_stop and trainer.is_global_zero:
            assert isinstance(module, FFNetModule)
            say(f"{self.label}: its time is over after {module.epochs_done:.1f} of {trainer.max_epochs} epochs")

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.now}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.before = self.now = float(state_dict["seconds"])
