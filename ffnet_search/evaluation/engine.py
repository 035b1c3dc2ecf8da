"""The base class of the engines in `engines/`, which evaluate configurations, and the context that constructs one.

A user-supplied engine is a subclass of `Engine`, named by import path in `search.engine`. Its constructor takes one
`EngineContext`.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ffnet_search.cluster.user_code import user_code
from ffnet_search.config.search_schema import SearchSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.evaluation.outcome import Ended, Evaluate, Pruner
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.space.search_space import SearchSpace

CRASHES = 3  # deaths of workers at a configuration, after which it counts as the cause


@dataclass(frozen=True)
class EngineContext:
    """The arguments of an engine's constructor.

    `make_evaluate()` gives an evaluator: an engine calls it once in each process that evaluates, so it can be pickled.
    `section` says how many workers are wanted, and what each of them needs. `pruner` gets each report of an
    evaluation. `folder` is the run's. `user_code` are the files and packages that hold user-supplied classes, which
    workers on other machines need."""

    make_evaluate: Callable[[], Evaluate]
    section: SearchSection
    pruner: Pruner
    folder: Path
    space: SearchSpace
    user_code: tuple[Path, ...] = ()

    @classmethod
    def of_sweep(cls, sweep: Sweep, make_evaluate: Callable[[], Evaluate], pruner: Pruner) -> EngineContext:
        """The context for evaluations of a sweep, in the folder of its run."""
        code = user_code(sweep.model_dump(mode="json"))
        return cls(make_evaluate, sweep.search, pruner, sweep.files.folder, sweep.search_space, code)


class OutOfTime(BaseException):
    """Raised by `Engine.next` at the deadline. No `Exception`, which an evaluation's user code may catch."""


class Engine(ABC):
    """Evaluates configurations. A context manager: at its end nothing of the engine is left running."""

    # True: Ray trains the supernet on its cluster, where this engine evaluates.
    trains_on_cluster: ClassVar[bool] = False
    # True: evaluations run in the process of the search, which dies with them. Else the engine counts workers' deaths.
    evaluates_here: ClassVar[bool] = True

    # The `time.monotonic()` at which the search ends; evaluations in progress are then abandoned.
    deadline: float = math.inf

    def __init__(self, context: EngineContext) -> None:
        self.context = context

    @classmethod
    def check(cls, section: SearchSection) -> None:
        """Raise SweepError if what the engine needs does not exist. Called before the first stage."""
        return

    def check_time(self) -> None:
        """Raise OutOfTime after the deadline. Called by `next` while it waits, and at each report of an evaluation."""
        if time.monotonic() >= self.deadline:
            raise OutOfTime

    @property
    @abstractmethod
    def free_slots(self) -> int:
        """The number of configurations that can be submitted now."""

    @property
    def is_ready(self) -> bool:
        """True if `next` returns without waiting."""
        return False

    @property
    def utilisation(self) -> dict[str, str]:
        """Workers and GPUs in use, for the progress table; empty if this process is the only worker."""
        return {}

    @abstractmethod
    def submit(self, configuration: Configuration) -> None:
        """Start, or queue, the evaluation of a configuration without waiting for it."""

    @abstractmethod
    def next(self) -> tuple[Configuration, Ended]:
        """Wait for the next evaluation that ends. Raises SweepError for a user error, which ends the search, and, where
        it calls `check_time`, OutOfTime."""

    def __enter__(self) -> Engine:
        return self

    @abstractmethod
    def __exit__(self, *raised: object) -> None: ...


def evaluate_all(engine: Engine, configurations: Iterable[Configuration]) -> Iterator[tuple[Configuration, Ended]]:
    """Evaluate configurations, begun in their order; yield each when it ends."""
    waiting, pending = deque(configurations), 0
    while waiting or pending:
        while waiting and engine.free_slots > 0:
            engine.submit(waiting.popleft())
            pending += 1
        yield engine.next()
        pending -= 1
