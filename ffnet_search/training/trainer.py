"""Lightning's Trainer as all training here uses it: quiet, resumable, with progress, callbacks and loggers."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from ffnet_search.config.files import LAST_CHECKPOINT
from ffnet_search.config.schema import TrainSection
from ffnet_search.errors import Terminated
from ffnet_search.progress import Bar, progress, say
from ffnet_search.training.callbacks.averaging import AveragedWeights
from ffnet_search.training.callbacks.last_checkpoint import LastCheckpoint
from ffnet_search.training.callbacks.progress import TrainingProgress
from ffnet_search.training.callbacks.time_budget import TimeBudget
from ffnet_search.training.checkpoints import is_plain, read_last, safe_types
from ffnet_search.training.freed_memory import freed_memory_kept
from ffnet_search.training.loggers import Hyperparameters, WriterErrors, finish, finished_on_error, make_loggers
from ffnet_search.training.modules import FFNetModule, NonFiniteLoss
from ffnet_search.training.named_classes import make_named


@dataclass(frozen=True)
class TrainerPlacement:
    """The place of a Trainer: alone in this process, or one of several ranks. `arguments` are passed to it."""

    arguments: Mapping[str, Any] = field(default_factory=lambda: {"devices": 1})
    bar: Callable[..., AbstractContextManager[Bar]] = progress
    on_checkpoint: Callable[[Path], object] | None = None  # called by the first rank after each last checkpoint


ALONE = TrainerPlacement()
ModuleT = TypeVar("ModuleT", bound=FFNetModule)


def fit(
    make: Callable[[], ModuleT],
    data: LightningDataModule,
    folder: Path,
    label: str,
    placement: TrainerPlacement,
    minutes: float | None = None,
) -> ModuleT:
    """Fit the module that `make()` returns, by its recipe, in `folder`; `label` names it in the progress. `minutes`:
    the time that it may take.

    After a non-finite loss, resume once from the last checkpoint at half the learning rate. Raises NonFiniteLoss if
    that does not help, or the checkpoint was trained at a reduced rate already."""
    last, factor = folder / LAST_CHECKPOINT, 1.0
    while True:
        module = make()
        recipe, module.learning_rate_factor = module.recipe, factor
        checkpoints = LastCheckpoint(last, recipe.checkpoint_minutes, placement.on_checkpoint)
        try:
            limits = [TimeBudget(minutes, label)] if minutes is not None else []
            settings = Hyperparameters(recipe.model_dump(mode="json", exclude={"callbacks", "loggers"}))
            callbacks = [settings, TrainingProgress(label, placement.bar), *limits, checkpoints]
            finish(run_trainer(module, data, recipe, folder, callbacks, placement).loggers)
            return module
        except NonFiniteLoss as error:
            checkpoint = read_last(last, plain=is_plain(not recipe.callbacks))
            if min(factor, float(checkpoint.get("learning_rate_factor", 1.0))) < 1:
                raise
            say(f"{label}: {error}; back to the last good checkpoint, at half the learning rate")
            factor = 0.5


def run_trainer(
    module: LightningModule,
    data: LightningDataModule,
    recipe: TrainSection,
    folder: Path,
    callbacks: Sequence[Callback],
    placement: TrainerPlacement = ALONE,
) -> Trainer:
    """Fit `module` for `recipe.epochs`, resuming from the checkpoint in `folder` if a whole one exists.

    Of the recipe it takes epochs, EMA, callbacks and loggers; the module takes the rest. Raises SweepError if a
    callback or logger does not exist or does not take its arguments. The caller calls `finish` with its loggers."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(module, FFNetModule):
        module.prepare_for_data(data)
    last, ours, cuda = folder / LAST_CHECKPOINT, isinstance(module, FFNetModule), torch.cuda.is_available()
    averaging = [AveragedWeights(recipe.ema)] if recipe.ema else []
    named = [make_named(one, f"train.callbacks.{index}", Callback, {}) for index, one in enumerate(recipe.callbacks)]
    writers = WriterErrors(folder)
    with quiet_lightning(), safe_types():
        trainer = Trainer(
            accelerator="gpu" if cuda else "cpu",
            **placement.arguments,
            use_distributed_sampler=False,  # `data` gives each rank its share
            precision="bf16-mixed" if ours and has_fast_bf16() else "32-true",
            max_epochs=recipe.epochs,
            # In this order, so that a checkpoint holds the average after its own step.
            callbacks=[*averaging, *named, *callbacks, writers],
            logger=make_loggers(recipe, folder),
            log_every_n_steps=20,
            num_sanity_val_steps=0,
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in named),
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        plain = is_plain(ours and not recipe.callbacks)  # callbacks may keep anything in a checkpoint
        start = str(last) if read_last(last, plain=plain) else None
        with freed_memory_kept(), _ended_by_signals(), finished_on_error(trainer.loggers), writers.heard():
            trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=plain)
    return trainer


def has_fast_bf16() -> bool:
    """Return whether this machine's GPU computes in bfloat16: from NVIDIA's Ampere on. A CPU and older GPUs, which
    emulate it, are slower with it."""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Raise what this program raises at a signal, in place of what Lightning makes of it."""
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SIGTERMException:
        raise Terminated(128 + signal.SIGTERM) from None
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):  # of user code
            raise
        signal.signal(signal.SIGINT, on_interrupt)  # Lightning has disabled further ones
        raise KeyboardInterrupt from None


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's notes on hardware and loaders, which are not about the user's sweep."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", message=r".*(num_workers|log_every_n_steps|litlogger).*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
