"""The pruner of a search as workers in other processes have it: requests, answers, and deaths."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from patience import PATIENCE_S

from ffnet_search.engines.ray_pruner import RequestQueue, remote_pruner


def test_each_request_gets_its_own_answer_and_a_dead_worker_is_not_waited_for() -> None:
    async def talk() -> None:
        queue = RequestQueue()
        alive, dead, late = (asyncio.create_task(queue.ask(name, name.upper())) for name in ("alive", "dead", "late"))
        await asyncio.sleep(0)
        assert await queue.take() == [("alive", "ALIVE"), ("dead", "DEAD"), ("late", "LATE")]
        dead.cancel()
        await asyncio.sleep(0)
        await queue.answer("dead", 1)
        await queue.answer("late", 2)
        assert await late == 2
        assert not alive.done()
        await queue.answer("alive", 3)
        await queue.answer("alive", 4)  # repeated by Ray
        await queue.answer("unknown", 5)
        assert await alive == 3

    asyncio.run(talk())


def test_reports_are_answered_though_the_actor_between_dies(ray_cluster: str) -> None:
    import ray

    def ask(pruner: Any, epochs: int) -> list[bool]:
        return [pruner.report("key", epoch, {"accuracy": epoch / epochs}) for epoch in range(epochs)]

    asked: list[float] = []

    class Half:
        def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
            asked.append(metrics["accuracy"])
            if len(asked) == 5:
                ray.kill(remote.queue, no_restart=False)  # Ray starts it again, and repeats the request
            if epoch == 99:
                raise ValueError("of no use")
            return metrics["accuracy"] < 0.5

    with remote_pruner(Half()) as remote:
        task = ray.remote(num_cpus=0)(ask)
        answers = ray.get([task.remote(remote, 40) for _ in range(2)], timeout=PATIENCE_S)
        assert answers == [[True] * 20 + [False] * 20] * 2
        assert 80 <= len(asked) <= 82  # those in progress when it died were asked twice
        with pytest.raises(ValueError, match="of no use"):
            ray.get(task.remote(remote, 100), timeout=PATIENCE_S)
