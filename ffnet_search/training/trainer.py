"""Lightning's Trainer as all training here uses it: quiet, resumable, with the callbacks and loggers of the sweep."""

from __future__ import annotations

import importlib.util
import inspect
import logging
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

from ffnet_search.atomic_write import replacing
from ffnet_search.config.schema import TrainSection
from ffnet_search.plugins import check_arguments, find_class
from ffnet_search.progress import Bar, progress
from ffnet_search.training.modules import FFNetModule

LAST = "last.ckpt"


@dataclass(frozen=True)
class TrainerPlacement:
    """The place of a Trainer: alone in this process, or one of several ranks.

    `arguments` and `callbacks` are passed to it; `bar` makes its progress bar.
    """

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
    placement: TrainerPlacement = ALONE,
) -> Trainer:
    """Fit `module` for `recipe.epochs`, resuming from the checkpoint in `folder` if one exists.

    Of the recipe it takes epochs, EMA, callbacks and loggers; the module takes the rest. Raises SweepError where a
    callback or logger does not exist or does not take its arguments.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last, ours, cuda = folder / LAST, isinstance(module, FFNetModule), torch.cuda.is_available()
    averaging = [EMAWeightAveraging(decay=recipe.ema)] if recipe.ema else []
    named = make_callbacks(recipe)
    with quiet_lightning():
        trainer = Trainer(
            accelerator="gpu" if cuda else "cpu",
            **placement.arguments,
            use_distributed_sampler=False,  # `data` gives each rank its share
            precision="bf16-mixed" if cuda and ours else "32-true",  # on CPU bf16 is the slower one
            max_epochs=recipe.epochs,
            # In this order, so that a checkpoint holds the average after its own step.
            callbacks=[*averaging, *named, *callbacks, *placement.callbacks],
            logger=make_loggers(recipe, folder),
            log_every_n_steps=20,
            num_sanity_val_steps=0,
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in named),
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        on_interrupt = signal.getsignal(signal.SIGINT)
        plain = ours and is_plain(recipe)
        try:
            trainer.fit(module, datamodule=data, ckpt_path=str(last) if last.exists() else None, weights_only=plain)
        except SystemExit:  # Lightning's answer to Ctrl-C, after it has disabled further ones
            signal.signal(signal.SIGINT, on_interrupt)
            raise KeyboardInterrupt from None
    return trainer


def is_plain(recipe: TrainSection) -> bool:
    """Return whether checkpoints hold tensors and numbers alone: callbacks of a sweep may keep anything in theirs."""
    return not recipe.callbacks


def save(trainer: Trainer, path: Path, *, weights_only: bool = False) -> None:
    """Write a checkpoint, replaced whole. A collective operation: every rank calls it, the first one writes."""
    if trainer.is_global_zero:
        with replacing(path) as scratch:
            trainer.save_checkpoint(scratch, weights_only=weights_only)
    else:
        trainer.save_checkpoint(path, weights_only=weights_only)  # writes nothing


def make_callbacks(recipe: TrainSection) -> list[Callback]:
    """The callbacks that the sweep names. Raises SweepError."""
    callbacks = []
    for index, plugin in enumerate(recipe.callbacks):
        field = f"train.callbacks.{index}"
        kind = find_class(plugin.class_path, f"{field}.class_path", Callback)
        check_arguments(kind, plugin.init_args, f"{field}.init_args")
        callbacks.append(kind(**plugin.init_args))
    return callbacks


def make_loggers(recipe: TrainSection, folder: Path) -> list[Logger]:
    """A CSV table, TensorBoard where it is installed, and the loggers that the sweep names.

    All write into `folder`, unless their arguments name another place. Raises SweepError.
    """
    loggers: list[Logger] = [CSVLogger(folder, name="logs")]
    if importlib.util.find_spec("tensorboard") or importlib.util.find_spec("tensorboardX"):
        loggers.append(TensorBoardLogger(folder, name="tensorboard"))
    for index, plugin in enumerate(recipe.loggers):
        field = f"train.loggers.{index}"
        kind = find_class(plugin.class_path, f"{field}.class_path", Logger)
        arguments = dict(plugin.init_args)
        if "save_dir" in inspect.signature(kind).parameters:
            arguments.setdefault("save_dir", str(folder))
        check_arguments(kind, arguments, f"{field}.init_args")
        loggers.append(kind(**arguments))
    return loggers


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
