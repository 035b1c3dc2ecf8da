"""Lightning's Trainer as all training here uses it: quiet, resumable, with the callbacks and loggers of the sweep."""

from __future__ import annotations

import importlib.util
import inspect
import logging
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, EMAWeightAveraging
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from ffnet_search.config.schema import TrainSection
from ffnet_search.plugins import check_arguments, find_class
from ffnet_search.progress import Bar, progress
from ffnet_search.training.modules import FFNetModule

LAST = "last.ckpt"


@dataclass(frozen=True)
class TrainerPlacement:
    """Where a Trainer runs: in this process alone, or as one of several ranks. Arguments and callbacks for it, and what
    makes the bar that shows how far it is."""

    arguments: Mapping[str, Any] = field(default_factory=lambda: {"devices": 1})
    callbacks: Sequence[Callback] = ()
    bar: Callable[..., AbstractContextManager[Bar]] = progress


ALONE = TrainerPlacement()


def run_trainer(
    module: LightningModule,
    data: LightningDataModule,
    recipe: TrainSection,
    folder: Path,
    callbacks: Sequence[Callback],
    place: TrainerPlacement = ALONE,
) -> Trainer:
    """Fits `module` for `recipe.epochs`, going on from the checkpoint in `folder` where there is one.

    Of the recipe it takes epochs, EMA, callbacks and loggers; the rest is the module's own business. Raises SweepError
    where a callback or logger is not there or does not take its arguments.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last, ours, cuda = folder / LAST, isinstance(module, FFNetModule), torch.cuda.is_available()
    averaging = [EMAWeightAveraging(decay=recipe.ema)] if recipe.ema else []
    theirs = make_callbacks(recipe)
    with quiet_lightning():
        trainer = Trainer(
            accelerator="gpu" if cuda else "cpu",
            **place.arguments,
            use_distributed_sampler=False,  # the data know the ranks
            precision="bf16-mixed" if cuda and ours else "32-true",  # on CPU bf16 is the slower one
            max_epochs=recipe.epochs,
            # In this order: a checkpoint holds the average of the step that it was made after.
            callbacks=[*averaging, *theirs, *callbacks, *place.callbacks],
            logger=make_loggers(recipe, folder),
            log_every_n_steps=20,
            num_sanity_val_steps=0,
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in theirs),
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        on_interrupt = signal.getsignal(signal.SIGINT)
        plain = ours and not theirs  # then a checkpoint holds tensors and numbers alone
        try:
            trainer.fit(module, datamodule=data, ckpt_path=str(last) if last.exists() else None, weights_only=plain)
        except SystemExit:  # what Lightning makes of Ctrl-C, after it has switched off further ones
            signal.signal(signal.SIGINT, on_interrupt)
            raise KeyboardInterrupt from None
    return trainer


def save(trainer: Trainer, path: Path, *, weights_only: bool = False) -> None:
    """A checkpoint, replaced whole."""
    trainer.save_checkpoint(path.with_suffix(".new"), weights_only=weights_only)
    if trainer.is_global_zero:
        os.replace(path.with_suffix(".new"), path)


def make_callbacks(recipe: TrainSection) -> list[Callback]:
    """Those that the sweep names. Raises SweepError."""
    made = []
    for index, wanted in enumerate(recipe.callbacks):
        found = find_class(wanted.class_path, f"train.callbacks.{index}.class_path", Callback)
        check_arguments(found, wanted.init_args, f"train.callbacks.{index}.init_args")
        made.append(found(**wanted.init_args))
    return made


def make_loggers(recipe: TrainSection, folder: Path) -> list[Logger]:
    """A table as CSV, TensorBoard where it is installed, and those that the sweep names: into `folder`, unless their
    arguments say otherwise. Raises SweepError."""
    made: list[Logger] = [CSVLogger(folder, name="logs")]
    if importlib.util.find_spec("tensorboard") or importlib.util.find_spec("tensorboardX"):
        made.append(TensorBoardLogger(folder, name="tensorboard"))
    for index, wanted in enumerate(recipe.loggers):
        found = find_class(wanted.class_path, f"train.loggers.{index}.class_path", Logger)
        args = dict(wanted.init_args)
        if "save_dir" in inspect.signature(found).parameters:
            args.setdefault("save_dir", str(folder))
        check_arguments(found, args, f"train.loggers.{index}.init_args")
        made.append(found(**args))
    return made


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Without Lightning's notes on hardware and loaders, which are not about the user's sweep."""
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
