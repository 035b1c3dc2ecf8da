"""Engine "tune": Ray Tune, where a trial reports as it trains and Tune's schedulers may stop it.

Tune runs in a thread, with a searcher that proposes what the loop submits; the study stays ours. Its results, in the
run's folder under `tune/`, are for TensorBoard and Tune's own tools. A trial costs some 70 ms here, 2 in engine "ray".
"""

from __future__ import annotations

import inspect
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from ray import tune
from ray.tune import schedulers
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from ffnet_search.attempt import Ended, Evaluate, Failure, GoOn, Outcome, Stopped, attempt
from ffnet_search.errors import SweepError, did_you_mean
from ffnet_search.pareto import METRICS, Candidate
from ffnet_search.proposal import Proposal
from ffnet_search.search import connect
from ffnet_search.sections import SchedulerSection, SearchSection

CRASHES = 3  # of workers, for which a candidate is held to be the cause
AHEAD = 2  # proposals that lie ready, so that Tune, which looks ten times a second, never finds none
WAKE_EVERY_S = 1.0
STOP_S = 30.0  # for Tune to end what runs


class Trainee(tune.Trainable):
    """A trial evaluates one proposal in one step. Its actor, and the evaluator in it, serve many trials."""

    def setup(self, config: dict[str, Any], make_evaluate: Callable[[], Evaluate]) -> None:
        self.mistake = ""
        try:
            self.evaluate = make_evaluate()
        except SweepError as error:
            self.mistake = str(error)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return True  # `self.config` is the new one by now

    def step(self) -> dict[str, Any]:
        """What Tune logs: plain values only."""
        result: dict[str, Any] = {"done": True, "whole": True}
        if self.mistake:
            return result | {"mistake": self.mistake}
        try:
            outcome = attempt(self.evaluate, self.config["proposal"], GoOn())
        except SweepError as error:
            return result | {"mistake": str(error)}
        except KeyboardInterrupt:
            return result | {"interrupted": True}
        if isinstance(outcome, Failure):
            return result | {"reason": outcome.reason, "traceback": outcome.traceback}
        if isinstance(outcome, Stopped):
            return result | dict(outcome.metrics) | {"stopped": outcome.epochs}
        return result | dict(outcome.metrics)


class Proposals(Searcher):
    """Hands Tune what the loop submits, and the loop what Tune is told. Tune pickles its searchers, which here would
    serve nothing: what there is to know is in the study."""

    def __init__(self, workers: int) -> None:
        super().__init__(metric=None, mode=None)
        self.workers = workers
        self.asked: queue.Queue[Proposal | None] = queue.Queue()
        self.told: queue.Queue[tuple[Proposal, Outcome]] = queue.Queue()
        self.live: dict[str, Proposal] = {}

    def suggest(self, trial_id: str) -> Any:
        if len(self.live) > self.workers:  # one more than work: the next for the actor that is free first
            return None
        try:
            proposal = self.asked.get(block=not self.live)  # else Tune would sleep a second
        except queue.Empty:
            return None
        if proposal is None:
            return Searcher.FINISHED
        self.live[trial_id] = proposal
        return {"key": proposal.key, "proposal": proposal}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        proposal = self.live.pop(trial_id)
        died = Failure(f"its worker died {CRASHES} times")
        self.told.put((proposal, died if error else _outcome(proposal, result or {})))

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        pass

    def __getstate__(self) -> dict[str, Any]:
        return {"workers": self.workers}

    def __deepcopy__(self, memo: Any) -> Proposals:
        return self


def _outcome(proposal: Proposal, result: dict[str, Any]) -> Outcome:
    if "mistake" in result:
        return SweepError(result["mistake"])
    if "interrupted" in result:
        return KeyboardInterrupt()
    if "reason" in result:
        return Failure(result["reason"], result["traceback"])
    if not result.get("whole"):
        return Failure(f"Tune stopped it after {result.get('training_iteration', 0)} reports")
    metrics = {name: result[name] for name in METRICS if name in result}
    if "stopped" in result:
        return Stopped(result["stopped"], metrics)
    return Candidate(proposal.architecture, metrics, proposal.hyperparameters)


class Tune:
    """See the head of this file, and `loop.Engine`."""

    def __init__(self, make_evaluate: Callable[[], Evaluate], section: SearchSection, folder: Path) -> None:
        self._make_evaluate, self._section, self._folder = make_evaluate, section, folder
        self._scheduler = make_scheduler(section.scheduler)
        self._in_flight = 0
        self._stopping = threading.Event()
        self._stack = ExitStack()

    def __enter__(self) -> Tune:
        self._cluster = self._stack.enter_context(connect.connected())
        with ExitStack() as undo:  # __exit__ is not called where __enter__ raises
            undo.push(self._stack)
            self._wanted = connect.granted(self._section.resources, self._cluster)
            workers = self._section.workers or max(1, self._cluster.fits(self._wanted))
            self._proposals = Proposals(workers)
            self._room = workers + AHEAD
            self._thread = threading.Thread(target=self._fit, name="tune", daemon=True)
            self._waiting_since = time.monotonic()
            self._thread.start()
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._proposals.asked.put(None)
        self._thread.join(STOP_S)
        self._stack.close()

    @property
    def has_room(self) -> bool:
        return self._in_flight < self._room

    def submit(self, proposal: Proposal) -> None:
        self._in_flight += 1
        self._proposals.asked.put(proposal)

    def next(self) -> tuple[Proposal, Ended]:
        while True:
            try:
                proposal, outcome = self._proposals.told.get(timeout=WAKE_EVERY_S)
                break
            except queue.Empty:
                self._refuse_to_wait_for_ever()
        if isinstance(outcome, BaseException):
            raise outcome
        self._in_flight -= 1
        return proposal, outcome

    def _fit(self) -> None:
        needs = {name: need for name, need in connect.as_ray(self._wanted).items() if need}
        trainable = tune.with_resources(
            tune.with_parameters(Trainee, make_evaluate=self._make_evaluate), tune.PlacementGroupFactory([needs])
        )
        os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")  # a failed trial has no metrics
        logging.getLogger("ray.tune").setLevel(logging.ERROR)
        try:
            tune.Tuner(
                trainable,
                tune_config=tune.TuneConfig(
                    search_alg=self._proposals,
                    scheduler=self._scheduler,
                    num_samples=-1,
                    reuse_actors=True,
                    trial_dirname_creator=_folder_name,
                ),
                run_config=tune.RunConfig(
                    name=f"{datetime.now():%Y-%m-%dT%H-%M-%S}",
                    storage_path=str(self._folder.absolute()),
                    verbose=0,
                    failure_config=tune.FailureConfig(max_failures=CRASHES - 1),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    stop=_Stop(self._stopping),
                ),
            ).fit()
        except BaseException as error:
            self._proposals.told.put((Proposal(None), error))

    def _refuse_to_wait_for_ever(self) -> None:
        if self._proposals.told.empty() and self._cluster.fits(self._wanted):
            self._waiting_since = time.monotonic()
        elif time.monotonic() - self._waiting_since > 60 * self._section.wait_minutes:
            what = f"after {self._section.wait_minutes:g} minutes (search.wait_minutes) the cluster"
            raise connect.too_small(self._wanted, self._cluster, what)


class _Stop(tune.Stopper):
    """Ends all trials once `event` is set; a copy that Tune keeps on disk never does."""

    def __init__(self, event: threading.Event) -> None:
        self.event: threading.Event | None = event

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.event is not None and self.event.is_set()

    def __getstate__(self) -> dict[str, Any]:
        return {"event": None}

    def __deepcopy__(self, memo: Any) -> _Stop:
        return self


def _folder_name(trial: Trial) -> str:
    return f"{trial.config['key']}-{trial.trial_id}"


def make_scheduler(section: SchedulerSection) -> Any:
    """Raises SweepError where Tune has no such scheduler, or it refuses the arguments."""
    known = {name: getattr(schedulers, name) for name in schedulers.__all__}
    known = {name: value for name, value in known.items() if inspect.isclass(value) and name != "TrialScheduler"}
    if section.name not in known:
        raise SweepError(
            f"search.scheduler.name must be a scheduler of ray.tune.schedulers, but got {section.name!r}"
            f"{did_you_mean(section.name, known)}"
        )
    try:
        return known[section.name](**section.args)
    except (TypeError, ValueError, AssertionError, ImportError) as error:
        raise SweepError(
            f"search.scheduler.args of {section.name}, which are {dict(section.args)}, are refused by Tune: "
            f"{' '.join(str(error).split())}"
        ) from None
