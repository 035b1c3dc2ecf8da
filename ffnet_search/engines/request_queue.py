"""Questions of workers in other processes to the search, and its answers: what runs in an actor between them.

Workers wait in `ask`, the search in `take`. Whoever dies leaves nobody waiting: the actor's own death is mended by Ray,
which starts it anew and repeats the calls that were under way, and the search answers what it is asked again as before.
"""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

CLOSED = -1


class RequestQueue:
    """Carries any values; its methods run on one event loop, so nothing here is ever entered twice at once."""

    def __init__(self) -> None:
        self._numbers = count()
        self._asked: asyncio.Queue[tuple[int, Any]] = asyncio.Queue()
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def ask(self, question: Any) -> Any:
        """The answer to it, once there is one."""
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._asked.put((number, question))
        try:
            return await self._waiting[number]
        finally:
            del self._waiting[number]

    async def take(self) -> dict[int, Any]:
        """All questions that nobody has taken yet, by number and in their order; waits for one. None left: closed."""
        taken = [await self._asked.get()]
        while not self._asked.empty():
            taken.append(self._asked.get_nowait())
        return {number: question for number, question in taken if number != CLOSED}

    async def close(self) -> None:
        await self._asked.put((CLOSED, None))

    async def answer(self, answers: dict[int, Any]) -> None:
        """By number. Whoever asked one that is not waited for has died."""
        for number, value in answers.items():
            waiting = self._waiting.get(number)
            if waiting and not waiting.done():
                waiting.set_result(value)
