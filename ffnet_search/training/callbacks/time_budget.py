"""The time limit of supernet training (`train.minutes`): the learning-rate schedule is shortened to end in time."""

from __future__ import annotations

import time
from typing import Any

from lightning import Callback, LightningModule, Trainer

from ffnet_search.progress import say
from ffnet_search.training.modules import FFNetModule

BETWEEN_S = 1.0  # seconds, at most, from one look at the clock to the next, about


def batches_until_next(batches: int, seconds: float, interval_s: float) -> int:
    """The batches until the clock is read again, after `interval_s` or a little more, where the last `batches` took so
    many seconds. At most twice as many as those: the first ones of a training are no measure."""
    if seconds <= 0:
        return 2 * batches
    return max(1, min(2 * batches, int(interval_s * batches / seconds)))


class TimeBudget(Callback):
    """Ends training after `minutes`, counted over its interruptions.

    The learning rate follows the share of steps or of time that has passed, whichever is larger, so that training ends
    at the floor of the schedule whether or not all epochs fit. All ranks follow the clock of the first, which it sends
    about once a second, with the batch at which it will send it next: to send it, a GPU is waited for. A shortened
    training, unlike one by epochs alone, does not repeat bit by bit."""

    def __init__(self, minutes: float, label: str) -> None:
        self.seconds, self.label = 60 * minutes, label
        self.before = self.now = 0.0  # seconds of training: until this process started, and until now
        self.batches = self.waits = 1  # from one look at the clock to the next; those that are still to come

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.start = time.monotonic()
        self._update(trainer, module)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        self.waits -= 1
        if not self.waits:
            self._update(trainer, module)

    def _update(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, FFNetModule)
        now = self.before + time.monotonic() - self.start
        interval_s = min(BETWEEN_S, self.seconds / 100, max(0.0, self.seconds - now))
        batches = batches_until_next(self.batches, now - self.now, interval_s)
        self.now, self.batches = trainer.strategy.broadcast((now, batches))
        self.waits = self.batches
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
