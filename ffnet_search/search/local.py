"""Engine "local": evaluates in this process, one architecture at a time."""

from __future__ import annotations

from collections import deque
from types import TracebackType

from ffnet_search.architecture import Architecture
from ffnet_search.attempt import Evaluate, Failure, attempt
from ffnet_search.pareto import Candidate


class Local:
    """The engine that needs nothing. See `loop.Engine`."""

    def __init__(self, evaluate: Evaluate) -> None:
        self.evaluate = evaluate
        self._waiting: deque[Architecture] = deque()

    @property
    def has_room(self) -> bool:
        return not self._waiting

    def submit(self, arch: Architecture) -> None:
        self._waiting.append(arch)

    def next(self) -> tuple[Architecture, Candidate | Failure]:
        arch = self._waiting.popleft()
        return arch, attempt(self.evaluate, arch)

    def __enter__(self) -> Local:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._waiting.clear()
