"""Engine "local": evaluates in this process, one configuration at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from ffnet_search.evaluation.engine import Engine, EngineContext
from ffnet_search.evaluation.outcome import Ended, run_safely
from ffnet_search.evaluation.signals import own_signals
from ffnet_search.space.hyperparameters import Configuration


class LocalEngine(Engine):
    """The engine that needs nothing but this process."""

    def __init__(self, context: EngineContext) -> None:
        super().__init__(context)
        self._waiting: deque[Configuration] = deque()

    @property
    def free_slots(self) -> int:
        return 1 - len(self._waiting)

    def submit(self, configuration: Configuration) -> None:
        self._waiting.append(configuration)

    def next(self) -> tuple[Configuration, Ended]:
        self.check_time()
        configuration = self._waiting.popleft()
        with own_signals():
            return configuration, run_safely(self._evaluate, configuration, self, self.context.section.trial_minutes)

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Ask the pruner, unless the time of the search is over. See `outcome.Pruner`."""
        self.check_time()
        return self.context.pruner.report(key, epoch, metrics)

    def __enter__(self) -> LocalEngine:
        self._evaluate = self.context.make_evaluate()
        return self

    def __exit__(self, *raised: object) -> None:
        self._waiting.clear()
