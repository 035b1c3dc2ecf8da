"""The outcomes of an evaluation as values, the callables that give them, and the pruner that may end one early.

Loads neither Optuna nor Ray, so that a node of a cluster which only evaluates starts quickly.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from ffnet_search.errors import DISK, SweepError, Terminated, io_reason, io_sentence, one_line
from ffnet_search.evaluation.time_limit import TimeIsUp, TimeLimit
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.space.hyperparameters import Configuration


@dataclass(frozen=True)
class Failed:
    """An evaluation that raised: the reason in one line, and the traceback."""

    reason: str
    traceback: str = ""


@dataclass(frozen=True)
class Stopped:
    """An evaluation that was ended early: the number of epochs it trained, and its metrics then."""

    epochs: int
    metrics: Mapping[str, float]


# Called by an evaluator after each epoch (1, 2, ...) but the last, whose metrics are in its Candidate, with the metrics
# so far. False: end now, and return Stopped.
Report = Callable[[int, Mapping[str, float]], bool]
Evaluate = Callable[[Configuration, Report], Candidate | Stopped]
Ended = Candidate | Stopped | Failed
Outcome = Ended | BaseException  # an exception ends the search


@runtime_checkable
class Resumable(Protocol):
    """An evaluator that keeps a checkpoint of the last epoch, from which any process can resume."""

    def checkpoint(self, key: str) -> Path:
        """The checkpoint of trial `key`, in a folder for that trial alone; written before each report."""

    def train(self, configuration: Configuration, report: Report, folder: Path) -> Candidate | Stopped:
        """Evaluate in `folder`, from the checkpoint there if one exists. The checkpoint stays."""


class Pruner(Protocol):
    """Decides which trials continue: the other end of `Report`, one for all trials of a search.

    It stays in the process of the search, and knows trials by their keys. Engines bring it the reports of other
    processes, and may bring one twice where a worker dies."""

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Return True if trial `key` continues after `epoch` epochs; `metrics` include those known before it."""


class NopPruner:
    """The pruner that stops nothing."""

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        return True


def run_safely(evaluate: Evaluate, configuration: Configuration, pruner: Pruner, minutes: float | None = None) -> Ended:
    """Run one evaluation, for at most so many minutes. Its errors are outcomes, an exit in user code among them.

    Raises SweepError: a user error fails every configuration; KeyboardInterrupt; Terminated."""
    limit = TimeLimit[Candidate | Stopped](minutes)

    def report(epoch: int, metrics: Mapping[str, float]) -> bool:
        limit.check()
        return pruner.report(configuration.key, epoch, {**configuration.known, **metrics})

    try:
        return limit.call(lambda: evaluate(configuration, report))
    except (SweepError, Terminated):
        raise
    except TimeIsUp:
        return Failed(str(limit), traceback.format_exc())
    except (Exception, SystemExit) as error:
        if io_reason(error) in DISK:  # fails every configuration, too
            raise SweepError(io_sentence(error)) from error
        return Failed(one_line(f"{type(error).__name__}: {error}"), traceback.format_exc())
