"""A trial of Ray Tune: each step is an epoch of one evaluation.

Evaluators call back after each epoch, Tune calls for each epoch; so the evaluation runs in a thread, which waits where
it reports until Tune wants the next step, or wants no more.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune

from ffnet_search.errors import SweepError
from ffnet_search.evaluation.outcome import Evaluate, Failed, Outcome, Report, Resumable, Stopped, run_safely
from ffnet_search.evaluation.schedule import (
    Schedule,
    ending,
    extended,
    forget_schedule,
    in_words,
    read_schedule,
    write_schedule,
)
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.space.configuration import Configuration, Value

Reported = tuple[int, Mapping[str, float]]  # epoch, metrics


class EvaluationThread:
    """One evaluation, epoch by epoch. It is its own pruner: what it answers is whether there is a next call."""

    def __init__(self, evaluate: Evaluate, configuration: Configuration) -> None:
        self._events: queue.Queue[Reported | Outcome] = queue.Queue()
        self._answers: queue.Queue[bool] = queue.Queue()
        self._stopping = False
        self._thread = threading.Thread(
            target=self._run, args=(evaluate, configuration), name="evaluation", daemon=True
        )

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

    def _run(self, evaluate: Evaluate, configuration: Configuration) -> None:
        try:
            self._events.put(run_safely(evaluate, configuration, self))
        except (SweepError, KeyboardInterrupt) as error:
            self._events.put(error)


class TuneTrainable(tune.Trainable):
    """Its actor, and the evaluator in it, serve many trials. A trial that Tune pauses, or that goes on from another's
    checkpoint, takes along with which hyper-parameters it was trained, and from when."""

    def setup(self, config: dict[str, Any], make_evaluate: Callable[[], Evaluate]) -> None:
        self.mistake = ""
        self._forget()
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
        if self.paused:  # after it was stopped, which removes its checkpoint: a kill may come before it goes on
            path, training = self.paused
            path.write_bytes(training)
        self._forget()

    def _forget(self) -> None:
        self.course: EvaluationThread | None = None
        self.epoch = 0
        self.schedule: Schedule = []
        self.paused: tuple[Path, bytes] | None = None  # where it is saved, and perhaps stays
        self.inherited: bytes | None = None  # a checkpoint to begin with

    @property
    def _resumable(self) -> Resumable | None:
        evaluate: object = self.evaluate
        return evaluate if isinstance(evaluate, Resumable) else None

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Of an evaluation that waits where it reported."""
        assert self._resumable is not None
        path = self._resumable.checkpoint(self.trial_id)
        self.paused = path, path.read_bytes()
        return {"epoch": self.epoch, "schedule": self.schedule, "training": self.paused[1]}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        assert self._resumable is not None and checkpoint is not None
        self.cleanup()
        self.epoch, self.schedule = checkpoint["epoch"], checkpoint["schedule"]
        self.inherited = checkpoint["training"]

    def _begin(self) -> EvaluationThread:
        configuration: Configuration = self.config["proposal"]
        if self._resumable is not None:
            self._lay_out(self._resumable.checkpoint(self.trial_id), configuration.hyperparameters)
        return EvaluationThread(partial(self._evaluate, folder_of=self.trial_id), configuration)

    def _lay_out(self, checkpoint: Path, hyperparameters: Mapping[str, Value]) -> None:
        """Leaves a checkpoint only beside the schedule that it was trained by, wherever a kill comes."""
        if self.inherited is None:
            kept = read_schedule(checkpoint.parent)
            if kept and checkpoint.exists() and kept[-1]["hyperparameters"] == hyperparameters:
                self.schedule = kept
                return
            if not kept:  # so nothing was changed: what is there was trained by these
                self.schedule = extended([], 0, hyperparameters)
                return
        checkpoint.unlink(missing_ok=True)
        self.schedule = extended(self.schedule, self.epoch, hyperparameters)
        write_schedule(checkpoint.parent, self.schedule)
        if self.inherited is not None:
            checkpoint.write_bytes(self.inherited)
            self.inherited = None

    def _evaluate(self, configuration: Configuration, report: Report, folder_of: str) -> Candidate | Stopped:
        if self._resumable is not None:  # by its first name: two may come to have the same hyper-parameters
            return self._resumable.train(configuration, report, self._resumable.checkpoint(folder_of).parent)
        return self.evaluate(configuration, report)

    def step(self) -> dict[str, Any]:
        """What Tune logs and its schedulers read: the metrics, and in `told` all that is ours, as text."""
        if self.mistake:
            return {"done": True} | told({"mistake": self.mistake})
        if self.course is None:
            self.course = self._begin()
        self.paused = None
        event = self.course.next()
        if isinstance(event, tuple):
            self.epoch, metrics = event
            return {**metrics, "epoch": self.epoch} | told({"epoch": self.epoch, "metrics": dict(metrics)})
        if isinstance(event, BaseException):
            kind = "mistake" if isinstance(event, SweepError) else "interrupted"
            return {"done": True} | told({kind: str(event)})
        if isinstance(event, Failed):
            how = f" (trained with {in_words(self.schedule)})" if len(self.schedule) > 1 else ""
            return {"done": True} | told({"reason": f"{event.reason}{how}", "traceback": event.traceback})
        if self._resumable is not None:
            forget_schedule(self._resumable.checkpoint(self.trial_id).parent)
        metrics = dict(event.metrics)
        if isinstance(event, Stopped):
            return {**metrics, "done": True} | told({"epoch": event.epochs, "metrics": metrics})
        return {**metrics, "done": True} | told(
            {"metrics": metrics, "record": {**event.record}, "schedule": self.schedule}
        )


def told(content: dict[str, Any]) -> dict[str, str]:
    """Text survives whatever Tune does with results."""
    return {"told": json.dumps(content)}


def heard(result: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `told`."""
    return dict(json.loads(result["told"]))


def outcome_of(configuration: Configuration, content: Mapping[str, Any]) -> Outcome:
    """What became of a trial of which this was heard last."""
    if "mistake" in content:
        return SweepError(content["mistake"])
    if "interrupted" in content:
        return KeyboardInterrupt()
    if "reason" in content:
        return Failed(content["reason"], content["traceback"])
    if "epoch" in content:  # Tune's scheduler or the pruner stopped it, or it did so by itself
        return Stopped(content["epoch"], content["metrics"])
    record, schedule = content["record"], content["schedule"]
    if schedule and schedule != extended([], 0, configuration.hyperparameters):
        record = {**record, "schedule": schedule}
    final = ending(schedule, configuration.hyperparameters)
    return Candidate(configuration.architecture, content["metrics"], configuration.hyperparameters, record, final)
