"""A trial of Ray Tune: each step is an epoch of one evaluation.

Evaluators call back after each epoch, Tune calls for each epoch; so the evaluation runs in a thread, which waits where
it reports until Tune wants the next step, or wants no more.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ray import tune

from ffnet_search.attempt import Evaluate, Failure, Outcome, Stopped, attempt
from ffnet_search.errors import SweepError
from ffnet_search.proposal import Proposal

Reported = tuple[int, Mapping[str, float]]  # epoch, metrics


class Course:
    """One evaluation, epoch by epoch. It is its own referee: what it answers is whether there is a next call."""

    def __init__(self, evaluate: Evaluate, proposal: Proposal) -> None:
        self._events: queue.Queue[Reported | Outcome] = queue.Queue()
        self._answers: queue.Queue[bool] = queue.Queue()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, args=(evaluate, proposal), name="evaluation", daemon=True)

    def next(self) -> Reported | Outcome:
        """Goes on until the evaluation reports, or has ended."""
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._answers.put(True)
        return self._events.get()

    def stop(self) -> None:
        """Ends the evaluation where it waits; does nothing where it has ended."""
        self._stopping = True
        self._answers.put(False)
        if self._thread.is_alive():
            self._thread.join()

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        if self._stopping:
            return False
        self._events.put((epoch, metrics))
        return self._answers.get()

    def _run(self, evaluate: Evaluate, proposal: Proposal) -> None:
        try:
            self._events.put(attempt(evaluate, proposal, self))
        except (SweepError, KeyboardInterrupt) as error:
            self._events.put(error)


class Trainee(tune.Trainable):
    """Its actor, and the evaluator in it, serve many trials."""

    def setup(self, config: dict[str, Any], make_evaluate: Callable[[], Evaluate]) -> None:
        self.mistake = ""
        self.course: Course | None = None
        try:
            self.evaluate = make_evaluate()
        except SweepError as error:
            self.mistake = str(error)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        return True  # `self.config` is the new one by now

    def cleanup(self) -> None:
        if self.course:
            self.course.stop()
        self.course = None

    def step(self) -> dict[str, Any]:
        """What Tune logs: plain values only."""
        if self.mistake:
            return {"done": True, "mistake": self.mistake}
        if self.course is None:
            self.course = Course(self.evaluate, self.config["proposal"])
        event = self.course.next()
        if isinstance(event, tuple):
            epoch, metrics = event
            return {"epoch": epoch, **metrics}
        return {"done": True} | as_result(event)


def as_result(outcome: Outcome) -> dict[str, Any]:
    """As plain values, which `outcome_of` reads."""
    if isinstance(outcome, SweepError):
        return {"mistake": str(outcome)}
    if isinstance(outcome, BaseException):
        return {"interrupted": True}
    if isinstance(outcome, Failure):
        return {"reason": outcome.reason, "traceback": outcome.traceback}
    epochs = {"epoch": outcome.epochs} if isinstance(outcome, Stopped) else {"whole": True}
    return {**outcome.metrics, **epochs}
