"""One evaluation whose errors are values, and the worker that makes many of them in a process of its own.

Apart from the search, so that a node of a cluster that evaluates loads neither Optuna nor Tune.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from ffnet_search.errors import SweepError
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.space.configuration import Configuration


@dataclass(frozen=True)
class Failed:
    """An evaluation that raised: one line for people, and where."""

    reason: str
    traceback: str = ""


@dataclass(frozen=True)
class Stopped:
    """An evaluation that was ended early: how many epochs it had trained, and its metrics then."""

    epochs: int
    metrics: Mapping[str, float]


# Called by an evaluator after each epoch (1, 2, ...) but the last, which its Candidate tells of, with the metrics so
# far; False: end now, and return Stopped.
Report = Callable[[int, Mapping[str, float]], bool]
Evaluate = Callable[[Configuration, Report], Candidate | Stopped]
Ended = Candidate | Stopped | Failed
Outcome = Ended | BaseException  # the last one ends the search


@runtime_checkable
class Resumable(Protocol):
    """An evaluator that leaves a checkpoint after every epoch, from which any process can go on."""

    def checkpoint(self, key: str) -> Path:
        """Of trial `key`, in a folder of its own: written before each report, read where it is there at the start."""
        ...

    def train(self, configuration: Configuration, report: Report, folder: Path) -> Candidate | Stopped: ...


class Pruner(Protocol):
    """Decides what goes on: the other end of `Report`, one for all trials of a search.

    It stays in the process of the search, and knows trials by their keys. Engines bring it the reports of other
    processes, and may bring one twice where a worker dies.
    """

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Whether the trial `key`, which has trained `epoch` epochs and has these metrics (those that were known
        before it began among them), goes on."""
        ...


class NopPruner:
    """The pruner that stops nothing."""

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        return True


def run_safely(evaluate: Evaluate, configuration: Configuration, pruner: Pruner) -> Ended:
    """One evaluation, whose errors are outcomes. Raises SweepError: a user's mistake stays with every configuration."""

    def report(epoch: int, metrics: Mapping[str, float]) -> bool:
        return pruner.report(configuration.key, epoch, {**configuration.known, **metrics})

    try:
        return evaluate(configuration, report)
    except SweepError:
        raise
    except Exception as error:
        return Failed(" ".join(f"{type(error).__name__}: {error}".split()), traceback.format_exc())
