"""Lightning's loggers of one training or one trial: making, naming and closing them.

A tracker (W&B, MLflow) has *runs* with a name; CSVLogger and TensorBoardLogger have folders, `save_dir/name/version`.
TensorBoard's files are written by a thread, in tensorboardX by one that ends at its first error: what then fills its
queue would wait without end. So the queue has no limit, and `WriterErrors` ends the training.
"""

from __future__ import annotations

import importlib.util
import inspect
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from ffnet_search.atomic_write import can_sync
from ffnet_search.config.schema import TrainSection
from ffnet_search.errors import AGAIN, SweepError, io_reason
from ffnet_search.files.semaphores import has_semaphores
from ffnet_search.plugins import Plugin, find_class
from ffnet_search.progress import say
from ffnet_search.training.named_classes import make_named

UNLIMITED: dict[str, Any] = {"max_queue": 0}  # of TensorBoardLogger


def make_loggers(recipe: TrainSection, folder: Path) -> list[Logger]:
    """A CSV table, TensorBoard where it is installed, and the loggers that the sweep names.

    All write into `folder`, unless their arguments name another place; a tracker's run has the folder's name. Raises
    SweepError."""
    loggers: list[Logger] = [CSVLogger(folder, name="logs")]
    if _has_tensorboard(folder):
        loggers.append(TensorBoardLogger(folder, name="tensorboard", default_hp_metric=False, **UNLIMITED))
    named = enumerate(recipe.loggers)
    return loggers + [make_logger(one, f"train.loggers.{index}", folder, folder.name) for index, one in named]


def _has_tensorboard(folder: Path) -> bool:
    """True if TensorBoard's files can be written: not where what its writer needs is missing."""
    names = [name for name in ("tensorboard", "tensorboardX") if importlib.util.find_spec(name)]
    if not names or not has_semaphores():  # which its queue needs
        return False
    if names == ["tensorboardX"] and not can_sync(folder):  # tensorboard's own writer does not ask for it
        say_no_curves()
        return False
    return True


@cache
def say_no_curves() -> None:
    say(
        "the file system of the run does not write files out when asked, which tensorboardX needs: TensorBoard gets no "
        "curves; logs/ has them as CSV"
    )


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
    if issubclass(kind, TensorBoardLogger) and any(one.kind is one.VAR_KEYWORD for one in known.values()):
        plugin = plugin.model_copy(update={"init_args": {**UNLIMITED, **plugin.init_args}})
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


class WriterErrors(Callback):
    """Ends a training with what TensorBoard's thread could not write, in a sentence: the next run resumes it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.reason = folder, ""

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Take the errors of that thread within the block; those of others are printed as before."""
        usual = threading.excepthook

        def hear(ended: threading.ExceptHookArgs) -> None:
            reason = io_reason(ended.exc_value)
            if reason and type(ended.thread).__module__.startswith("tensorboard"):
                self.reason = reason
            else:
                usual(ended)

        threading.excepthook = hear
        try:
            yield
        finally:
            threading.excepthook = usual

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if self.reason:
            raise SweepError(f"{self.folder}: TensorBoard's files cannot be written: {self.reason}; {AGAIN}")


class Hyperparameters(Callback):
    """Logs the hyper-parameters of a training, before it begins."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        for logger in trainer.loggers:
            logger.log_hyperparams(self.values)
