"""The exponential moving average of a network's weights (`train.ema`).

Lightning's own callback keeps the number of steps on the device and reads it back three times a step, so that a GPU is
waited for; here it is a number of Python. The checkpoint has the same form.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn


class AveragedWeights(Callback):
    """Averages weights and buffers from the first step on, validates the average, and ends with it.

    The decay after n steps is at most (1 + n) / (10 + n), so that the first weights of a short training do not linger.
    A checkpoint has the average in the place of the weights, which are beside it."""

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.count = self.step = 0  # weights that were averaged; the optimiser's steps by then
        self.averages: dict[str, Tensor] = {}
        self.now: dict[str, Tensor] = {}  # the weights themselves, not copies
        self.is_taken = False

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Begin with the weights, or those of the checkpoint, once the module is on its device."""
        self.now = module.state_dict()
        averages = self.averages or self.now
        self.averages = {name: torch.empty_like(one).copy_(averages[name]) for name, one in self.now.items()}

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        if trainer.global_step > self.step:
            self.step = trainer.global_step
            self.update()

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of a step into the average."""
        decay = min(self.decay, (1 + self.count) / (10 + self.count)) if self.count else 0.0
        pairs = [(self.averages[name], one) for name, one in self.now.items()]
        averages, now = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
        get_ema_multi_avg_fn(decay)(list(averages), list(now), self.count)
        for average, one in pairs:
            if not average.is_floating_point():
                average.copy_(one)
        self.count += 1

    @torch.no_grad()
    def _swap(self) -> None:
        for name, one in self.now.items():
            kept = one.clone()
            one.copy_(self.averages[name])
            self.averages[name].copy_(kept)

    def on_validation_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._swap()

    def on_validation_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._swap()

    @torch.no_grad()
    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        for name, one in self.now.items():
            one.copy_(self.averages[name])
        self.is_taken = True

    def on_fit_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Take the average where `on_train_end` was not called: a training that resumes after its last epoch has no
        step to make."""
        if not self.is_taken:
            self.on_train_end(trainer, module)

    def state_dict(self) -> dict[str, Any]:
        return {"latest_update_step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.step = state_dict["latest_update_step"]

    def on_save_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["current_model_state"] = checkpoint["state_dict"]
        checkpoint["state_dict"] = self.averages
        checkpoint["averaging_state"] = {"n_averaged": torch.tensor(self.count)}

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.averages = checkpoint["state_dict"]
        self.count = int(checkpoint["averaging_state"]["n_averaged"])
        module.load_state_dict(checkpoint["current_model_state"])
