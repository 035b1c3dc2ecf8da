"""Each trial of a search as a run of its own in Lightning's loggers: W&B, MLflow, TensorBoard, CSV and others.

The process of the search logs a trial at its end, on every engine. The failure of a tracker is reported once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path

from lightning.pytorch.loggers import Logger

from ffnet_search.errors import one_line
from ffnet_search.plugins import Plugin
from ffnet_search.progress import say
from ffnet_search.search.storage.trial_record import TrialRecord
from ffnet_search.training.loggers import finished, make_logger, tracker_metrics
from ffnet_search.training.trainer import quiet_lightning

LONGEST_REASON = 250  # characters of a value that MLflow takes


def trial_loggers(plugins: Sequence[Plugin], folder: Path) -> Callable[[TrialRecord], None]:
    """A function that logs a trial which has ended, to each of `search.loggers`. They write into `folder`, the run's,
    unless their arguments name another place; those that have folders, into `trials/KEY/search`.

    A logger that fails is left out from then on, and the search continues."""
    left = dict(enumerate(plugins))

    def on_end(record: TrialRecord) -> None:
        for index, plugin in list(left.items()):
            try:
                with quiet_lightning():
                    place = f"trials/{record.key}", "search"
                    _log(make_logger(plugin, f"search.loggers.{index}", folder, record.key, place), record)
            except Exception as error:  # of another program's server, disk or account
                del left[index]
                reason = one_line(f"{type(error).__name__}: {error}")[:LONGEST_REASON]
                say(f"search: {plugin.class_path} failed ({reason}), so it gets no more trials; the search continues")

    return on_end


def _log(logger: Logger, record: TrialRecord) -> None:
    """Hyper-parameters and state, the metrics of each epoch that was reported, and those at the end."""
    words = {"key": record.key, "state": record.state, "origin": record.origin, "architecture": record.architecture}
    if record.reason:
        words["reason"] = record.reason[:LONGEST_REASON]
    last = record.stopped or int(record.record.get("epochs") or 0) or max(record.reports, default=-1) + 1
    metrics = tracker_metrics(record.metrics)
    with finished([logger]):
        values = {**words, **record.final_params}
        takes_both = "metrics" in inspect.signature(logger.log_hyperparams).parameters  # TensorBoard's table
        logger.log_hyperparams(values, **({"metrics": metrics, "step": last} if takes_both else {}))
        for epoch, reported in sorted(record.reports.items()):
            logger.log_metrics(tracker_metrics(reported), step=epoch)
        if not takes_both:
            logger.log_metrics(metrics, step=last)
        logger.save()
        logger.finalize("failed" if record.state == "failed" else "success")
