"""The pruner of a search for trials in other processes: workers send their reports through an actor.

The pruner stays in the process of the search, where a thread answers. A report costs some milliseconds, and waits for
nothing but the pruner, whatever else the search does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from ffnet_search.evaluation.outcome import Pruner

CONCURRENT_REPORTS = 10_000  # workers that may wait at once; Ray's default for an actor is 1,000


class RequestQueue:
    """Carries requests of workers to the search and answers back: an actor, whose methods run on one event loop.

    Where the actor dies, Ray starts it again and repeats the calls in progress; so a request has an id of its own, and
    an answer that nobody waits for is dropped."""

    def __init__(self) -> None:
        self._requests: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self._answers: dict[str, asyncio.Future[Any]] = {}

    async def ask(self, request_id: str, request: Any) -> Any:
        """Return the answer to a request, once there is one."""
        self._answers[request_id] = asyncio.get_running_loop().create_future()
        self._requests.put_nowait((request_id, request))
        try:
            return await self._answers[request_id]
        finally:
            del self._answers[request_id]

    async def take(self) -> list[tuple[str, Any]]:
        """Return all requests that were not taken yet, in their order; wait for one."""
        requests = [await self._requests.get()]
        while not self._requests.empty():
            requests.append(self._requests.get_nowait())
        return requests

    async def answer(self, request_id: str, value: Any) -> None:
        """Answer a request, unless its worker has died."""
        waiting = self._answers.get(request_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(value)


@dataclass(frozen=True)
class RemotePruner:
    """The pruner as workers have it. `queue` is the handle of a `RequestQueue` actor."""

    queue: Any

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Return what the pruner of the search returns, or raise what it raises. See `outcome.Pruner`."""
        import ray

        answer = ray.get(self.queue.ask.remote(uuid4().hex, (key, epoch, dict(metrics))))
        if isinstance(answer, BaseException):
            raise answer
        return bool(answer)


@contextmanager
def remote_pruner(pruner: Pruner) -> Iterator[RemotePruner]:
    """Yield `pruner` in a form for workers of the Ray cluster that this process is connected to."""
    import ray

    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "max_concurrency": CONCURRENT_REPORTS}
    queue: Any = ray.remote(**options)(RequestQueue).remote()
    thread = threading.Thread(target=_answer, args=(queue, pruner), name="pruner", daemon=True)
    thread.start()
    try:
        yield RemotePruner(queue)
    finally:
        ray.kill(queue)  # ends the thread
        thread.join()


def _answer(queue: Any, pruner: Pruner) -> None:
    """Answer requests until the actor is killed."""
    import ray

    while True:
        try:
            requests = ray.get(queue.take.remote())
        except ray.exceptions.RayActorError:
            return
        for request_id, (key, epoch, metrics) in requests:
            answer: bool | Exception
            try:
                answer = pruner.report(key, epoch, metrics)
            except Exception as error:  # raised again in the worker, where it is the outcome of the trial
                answer = error
            queue.answer.remote(request_id, answer)
