"""User-supplied engines: threads of this process, which share an evaluator; and one that is interrupted."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count

from ffnet_search.engines.local import LocalEngine
from ffnet_search.evaluation.engine import Engine, EngineContext
from ffnet_search.evaluation.outcome import Ended, run_safely
from ffnet_search.space.hyperparameters import Configuration

CPUS = 2
INTERRUPTED = 4


class ThreadEngine(Engine):
    """Evaluates on as many threads as `search.workers` says, or as two CPUs have room for."""

    def __init__(self, context: EngineContext) -> None:
        super().__init__(context)
        self.threads = context.section.workers or max(1, int(CPUS / context.section.resources.cpu))
        self.results: queue.Queue[tuple[Configuration, Ended | BaseException]] = queue.Queue()
        self.pending = 0

    @property
    def free_slots(self) -> int:
        return self.threads - self.pending

    @property
    def is_ready(self) -> bool:
        return not self.results.empty()

    @property
    def utilisation(self) -> dict[str, str]:
        return {"threads busy": f"{self.pending} of {self.threads}"}

    def submit(self, configuration: Configuration) -> None:
        self.pending += 1
        self.pool.submit(self.evaluate, configuration)

    def evaluate(self, configuration: Configuration) -> None:
        try:
            outcome: Ended | BaseException = run_safely(
                self.evaluator, configuration, self.context.pruner, self.context.section.trial_minutes
            )
        except BaseException as error:
            outcome = error
        self.results.put((configuration, outcome))

    def next(self) -> tuple[Configuration, Ended]:
        configuration, outcome = self.results.get()
        self.pending -= 1
        if isinstance(outcome, BaseException):
            raise outcome
        return configuration, outcome

    def __enter__(self) -> ThreadEngine:
        self.evaluator = self.context.make_evaluate()
        self.pool = ThreadPoolExecutor(self.threads)
        return self

    def __exit__(self, *raised: object) -> None:
        self.pool.shutdown(cancel_futures=True)


class InterruptedEngine(LocalEngine):
    """Ctrl-C arrives when this process gets the report number `INTERRUPTED`, counted over all engines."""

    def __init__(self, context: EngineContext) -> None:
        super().__init__(replace(context, pruner=Interrupting()))


class Interrupting:
    """A pruner that is interrupted."""

    reports = count(1)

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        if next(self.reports) == INTERRUPTED:
            raise KeyboardInterrupt
        return True
