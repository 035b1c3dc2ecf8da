"""Engine "local": evaluates in this process, one proposal at a time."""

from __future__ import annotations

from collections import deque
from types import TracebackType

from ffnet_search.attempt import Ended, Evaluate, Referee, attempt
from ffnet_search.proposal import Proposal


class Local:
    """The engine that needs nothing. See `loop.Engine`."""

    def __init__(self, evaluate: Evaluate, referee: Referee) -> None:
        self.evaluate, self.referee = evaluate, referee
        self._waiting: deque[Proposal] = deque()

    @property
    def room(self) -> int:
        return 1 - len(self._waiting)

    @property
    def is_ready(self) -> bool:
        return False

    @property
    def crew(self) -> dict[str, str]:
        return {}

    def submit(self, proposal: Proposal) -> None:
        self._waiting.append(proposal)

    def next(self) -> tuple[Proposal, Ended]:
        proposal = self._waiting.popleft()
        return proposal, attempt(self.evaluate, proposal, self.referee)

    def __enter__(self) -> Local:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._waiting.clear()
