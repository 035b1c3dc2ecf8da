"""The pruner for trials in other processes: it stays here and answers, in a thread, what workers ask through an actor.

A question costs some milliseconds, and waits for nothing but the rule, whatever else the search is at.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ffnet_search.engines.request_queue import RequestQueue
from ffnet_search.evaluation import outcome

ASKING_AT_ONCE = 10_000  # workers; Ray's own limit of an actor's calls under way is 1,000


@contextmanager
def remote_pruner(pruner: outcome.Pruner) -> Iterator[outcome.Pruner]:
    """One that can be sent to workers of a Ray cluster, to which this process is connected."""
    import ray

    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "max_concurrency": ASKING_AT_ONCE}
    mailbox: Any = ray.remote(**options)(RequestQueue).remote()
    clerk = threading.Thread(target=_answer, args=(ray, mailbox, pruner), name="referee", daemon=True)
    clerk.start()

    class ByMail:  # defined here it travels by value: workers need not load this package
        def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
            answer = ray.get(mailbox.ask.remote((key, epoch, dict(metrics))))
            if isinstance(answer, BaseException):
                raise answer
            return bool(answer)

    try:
        yield ByMail()
    finally:
        mailbox.close.remote()
        clerk.join()
        ray.kill(mailbox)


def _answer(ray: Any, mailbox: Any, pruner: outcome.Pruner) -> None:
    """Until the mailbox is closed."""

    def decide(key: str, epoch: int, metrics: Mapping[str, float]) -> bool | Exception:
        try:
            return pruner.report(key, epoch, metrics)
        except Exception as error:  # travels to the worker, where it becomes the outcome of the trial
            return error

    while questions := ray.get(mailbox.take.remote()):
        mailbox.answer.remote({number: decide(*question) for number, question in questions.items()})
