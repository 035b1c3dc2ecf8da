"""A trial of Ray Tune: each step is one epoch of an evaluation.

Evaluators call back after each epoch, Tune calls for each epoch. So the evaluation runs in a thread, which waits where
it reports until Tune wants the next step, or wants no more.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ray import tune

from ffnet_search.errors import SweepError, Terminated
from ffnet_search.evaluation import schedule as schedules
from ffnet_search.evaluation.outcome import Evaluate, Failed, Outcome, Report, Resumable, Stopped, run_safely
from ffnet_search.evaluation.schedule import Schedule, TrainingState
from ffnet_search.evaluation.time_limit import TimeLimit
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.space.hyperparameters import Configuration, Value

RESULT = "ffnet_search"  # in a result of Tune: the outcome of the trial, were this its last epoch
Reported = tuple[int, Mapping[str, float]]  # epoch, metrics


class EvaluationThread:
    """One evaluation, epoch by epoch. It is the evaluation's pruner: the answer to a report is whether `next` follows.

    >>> thread = EvaluationThread(evaluate, configuration)  # doctest: +SKIP
    >>> thread.next(), thread.next()  # doctest: +SKIP
    ((1, {'accuracy': 0.5}), Candidate(...))"""

    def __init__(self, evaluate: Evaluate, configuration: Configuration, minutes: float | None = None) -> None:
        self._minutes, self._left_s = minutes, math.inf if minutes is None else 60 * minutes
        self._events: queue.Queue[Reported | Outcome] = queue.Queue()
        self._answers: queue.Queue[bool] = queue.Queue()
        self._stopping = False
        self._thread = threading.Thread(
            target=self._run, args=(evaluate, configuration), name="evaluation", daemon=True
        )

    @property
    def is_hung(self) -> bool:
        """True if the evaluation took longer than its minutes: its thread cannot be ended but with the process."""
        return self._left_s <= 0

    def next(self) -> Reported | Outcome:
        """Continue until the evaluation reports or ends, or its minutes have passed; time between calls is free."""
        start = time.monotonic()
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._answers.put(True)
        try:
            return self._events.get(timeout=None if self._minutes is None else max(0.0, self._left_s))
        except queue.Empty:
            return Failed(str(TimeLimit[Outcome](self._minutes)))
        finally:
            self._left_s -= time.monotonic() - start

    def stop(self) -> None:
        """End the evaluation where it waits; does nothing where it has ended."""
        self._stopping = True
        self._answers.put(False)
        if self._thread.is_alive() and not self.is_hung:
            self._thread.join()

    def report(self, key: str, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Hand a report to `next`, and wait for what follows. See `outcome.Pruner`."""
        if self._stopping:
            return False
        self._events.put((epoch, metrics))
        return self._answers.get()

    def _run(self, evaluate: Evaluate, configuration: Configuration) -> None:
        try:
            self._events.put(run_safely(evaluate, configuration, self))
        except (SweepError, KeyboardInterrupt, Terminated) as error:
            self._events.put(error)


@dataclass(frozen=True)
class RunningTrial:
    """The trial that an actor evaluates now: how it was trained, so far, and whether Tune has saved and left it."""

    thread: EvaluationThread
    checkpoint: Path | None  # that the evaluator keeps; None where it keeps none
    schedule: Schedule = ()
    epoch: int = 0
    is_paused: bool = False


class TuneTrainable(tune.Trainable):
    """An actor and its evaluator, which serve many trials.

    A trial that Tune pauses, or that continues from another's checkpoint, takes along a `TrainingState`."""

    def setup(
        self, config: dict[str, Any], make_evaluate: Callable[[], Evaluate], minutes: float | None = None
    ) -> None:
        self.minutes = minutes
        self.running: RunningTrial | None = None
        self.start: TrainingState | None = None  # of the next trial
        self.user_error: SweepError | None = None
        try:
            self.evaluate = make_evaluate()
        except SweepError as error:
            self.user_error = error

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        # A thread that hangs is left alone: with False, or an actor that exits here, Tune 2.60 loses the next trial,
        # that of `self.config` and `self.trial_id` by now.
        return True

    def cleanup(self) -> None:
        if self.running is not None:
            self.running.thread.stop()
            if self.running.checkpoint is not None and not self.running.is_paused:
                schedules.end_training(self.running.checkpoint)
        self.running = self.start = None

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        running = self.running
        assert running is not None and running.checkpoint is not None
        self.running = replace(running, is_paused=True)
        return {"state": TrainingState(running.epoch, running.schedule, running.checkpoint.read_bytes())}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        assert checkpoint is not None
        self.cleanup()
        self.start = checkpoint["state"]

    def step(self) -> dict[str, Any]:
        """Train one epoch. Returns the metrics, which Tune logs and its schedulers read, and the outcome so far."""
        if self.user_error is not None:
            return {"done": True, RESULT: self.user_error}
        running = replace(self.running or self._begin(), is_paused=False)
        self.running = running
        event = running.thread.next()
        if isinstance(event, tuple):
            epoch, metrics = event
            self.running = replace(running, epoch=epoch)
            return {**metrics, "epoch": epoch, RESULT: Stopped(epoch, metrics)}
        if isinstance(event, Candidate | Stopped):
            if running.checkpoint is not None:
                schedules.end_training(running.checkpoint)
            return {**event.metrics, "done": True, RESULT: _scheduled(event, running.schedule)}
        return {"done": True, RESULT: _scheduled(event, running.schedule)}

    def _begin(self) -> RunningTrial:
        """Start the trial of `self.config`; a `Resumable` evaluator in the folder of the trial's first configuration,
        since two trials of a population may come to have the same hyper-parameters."""
        configuration: Configuration = self.config["proposal"]
        evaluate: object = self.evaluate
        if not isinstance(evaluate, Resumable):
            return RunningTrial(EvaluationThread(self.evaluate, configuration, self.minutes), None)
        checkpoint, resumable = evaluate.checkpoint(self.trial_id), evaluate

        def train(configuration: Configuration, report: Report) -> Candidate | Stopped:
            return resumable.train(configuration, report, checkpoint.parent)

        schedule = schedules.begin_training(checkpoint, configuration.hyperparameters, self.start)
        epoch = self.start.epoch if self.start else 0
        self.start = None
        return RunningTrial(EvaluationThread(train, configuration, self.minutes), checkpoint, schedule, epoch)


def _scheduled(outcome: Outcome, schedule: Schedule) -> Outcome:
    """The outcome with the schedule that led to it."""
    if isinstance(outcome, Candidate) and schedule:
        return replace(outcome, record={**outcome.record, "schedule": schedules.plain_schedule(schedule)})
    if isinstance(outcome, Failed) and len(schedule) > 1:
        return replace(outcome, reason=f"{outcome.reason} (trained with {schedules.describe(schedule)})")
    return outcome


def as_proposed(candidate: Candidate, proposed: Mapping[str, Value]) -> Candidate:
    """The candidate under the hyper-parameters that were proposed; its schedule is kept where it differs from them."""
    record = dict(candidate.record)
    schedule = schedules.schedule_of(record)
    if schedule == schedules.extended((), 0, proposed):
        del record["schedule"]
    final = schedules.final_hyperparameters(schedule, proposed)
    return replace(candidate, hyperparameters=proposed, record=record, final_hyperparameters=final)
