"""Host synchronisation within the steps of a Trainer, which CUDA raises an error for."""

from __future__ import annotations

import shutil
import traceback
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from ffnet_search.training.fit import sweep_data
from ffnet_search.training.modules import CHECK_EVERY, Supernet
from ffnet_search.training.trainer import run_trainer
from gpu_steps.run import Run

EMA = 0.99  # of the weights, so that what it costs is looked at too
WATCHED = 30  # steps: the first ones of a GPU plan their convolutions, for seconds each


class Watched(Supernet):
    """A supernet in whose steps CUDA raises an error where the host waits for the device; so many were `watched`.

    From the batch on the host to the end of callbacks: its transfer, augmentation, the networks' steps, the average."""

    batches = watched = 0

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        index, training = self.batches, self.trainer.training
        self.batches += training
        if training and self.device.type == "cuda" and index > 1 and index % CHECK_EVERY != 0:
            self.watched += 1
            torch.cuda.set_sync_debug_mode("error")
        return batch

    def on_train_batch_end(self, *_: object) -> None:
        unwatched(self.device)
        self.trainer.should_stop = self.watched >= WATCHED


def unwatched(device: torch.device) -> None:
    """Let the host wait again."""
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("default")


class UnwatchedAtLast(Callback):
    """Lets the host wait for what Lightning does after an error, which would else raise another one."""

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        unwatched(module.device)


def synchronisation(run: Run) -> str:
    """Whether the host waits for the device within steps of a Trainer."""
    sweep = run.sweep(1)
    recipe = sweep.train.model_copy(update={"ema": EMA})
    module, folder = Watched(sweep.search_space, recipe), run.work / "watched"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        run_trainer(module, sweep_data(sweep), recipe, folder, [UnwatchedAtLast()])
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames]
        return f"found at {' < '.join(reversed(places[-4:]))}"
    finally:
        unwatched(run.device)
        shutil.rmtree(folder, ignore_errors=True)
    looked = f"none in {module.watched} steps" if module.watched else "not looked for: too few steps"
    return looked if run.is_cuda else "not looked for on a CPU"
