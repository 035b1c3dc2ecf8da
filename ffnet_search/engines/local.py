"""Engine "local": evaluates in this process, one configuration at a time."""

from __future__ import annotations

from collections import deque
from types import TracebackType

from ffnet_search.evaluation.outcome import Ended, Evaluate, Pruner, run_safely
from ffnet_search.space.configuration import Configuration


class LocalEngine:
    """The engine that needs nothing. See `loop.Engine`."""

    def __init__(self, evaluate: Evaluate, pruner: Pruner) -> None:
        self.evaluate, self.pruner = evaluate, pruner
        self._waiting: deque[Configuration] = deque()

    @property
    def free_slots(self) -> int:
        return 1 - len(self._waiting)

    @property
    def is_ready(self) -> bool:
        return False

    @property
    def utilisation(self) -> dict[str, str]:
        return {}

    def submit(self, configuration: Configuration) -> None:
        self._waiting.append(configuration)

    def next(self) -> tuple[Configuration, Ended]:
        configuration = self._waiting.popleft()
        return configuration, run_safely(self.evaluate, configuration, self.pruner)

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._waiting.clear()
