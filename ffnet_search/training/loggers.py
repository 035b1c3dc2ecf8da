"""Lightning's loggers of one training or one trial: making, naming and closing them.

A tracker (W&B, MLflow) has *runs* with a name; CSVLogger and TensorBoardLogger have folders, `save_dir/name/version`.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from ffnet_search.config.schema import TrainSection
from ffnet_search.files.semaphores import has_semaphores
from ffnet_search.plugins import Plugin, find_class
from ffnet_search.training.named_classes import make_named


def make_loggers(recipe: TrainSection, folder: Path) -> list[Logger]:
    """A CSV table, TensorBoard where it is installed, and the loggers that the sweep names.

    All write into `folder`, unless their arguments name another place; a tracker's run has the folder's name. Raises
    SweepError."""
    loggers: list[Logger] = [CSVLogger(folder, name="logs")]
    is_installed = importlib.util.find_spec("tensorboard") or importlib.util.find_spec("tensorboardX")
    if is_installed and has_semaphores():  # which its queue needs
        loggers.append(TensorBoardLogger(folder, name="tensorboard", default_hp_metric=False))
    named = enumerate(recipe.loggers)
    return loggers + [make_logger(one, f"train.loggers.{at}", folder, folder.name) for at, one in named]


def make_logger(plugin: Plugin, field: str, folder: Path, run: str, place: tuple[str, str] | None = None) -> Logger:
    """A logger that a sweep names, in `folder`, whose run in a tracker is named `run`.

    `place`: name and version of a logger that has folders. Raises SweepError."""
    kind = find_class(plugin.class_path, f"{field}.class_path", Logger)
    known = inspect.signature(kind).parameters
    defaults = {"save_dir": str(folder)}
    if "run_name" in known:
        defaults["run_name"] = run
    elif "name" in known and known["name"].default is None:  # a display name; else it is that of a folder
        defaults["name"] = run
    elif place is not None:
        defaults |= {"name": place[0], "version": place[1]}
    logger: Logger = make_named(plugin, field, Logger, defaults)
    return logger


def finish(loggers: Sequence[Logger]) -> None:
    """End the runs that do not end with their logger: W&B's next logger would continue this run."""
    for logger in loggers:
        end = getattr(getattr(logger, "experiment", None), "finish", None)
        if end is not None:
            end()


@contextmanager
def finished(loggers: Sequence[Logger]) -> Iterator[None]:
    """Call `finish` at the end of the block."""
    try:
        yield
    finally:
        finish(loggers)


@contextmanager
def finished_on_error(loggers: Sequence[Logger]) -> Iterator[None]:
    """Call `finish` where the block raises."""
    try:
        yield
    except BaseException:
        finish(loggers)
        raise


def log_result(trainer: Trainer, metrics: Mapping[str, float]) -> None:
    """Log the metrics of the trained network where its training was logged."""
    for logger in trainer.loggers:
        logger.log_metrics(tracker_metrics(metrics), trainer.global_step)
        logger.save()
        logger.finalize("success")  # again: TensorBoard's has opened another file


def tracker_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics by names that every tracker takes: `latency_ms/phone` for `latency_ms@phone`."""
    return {name.replace("@", "/"): value for name, value in metrics.items()}


class Hyperparameters(Callback):
    """Logs the hyper-parameters of a training, before it begins."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        for logger in trainer.loggers:
            logger.log_hyperparams(self.values)
