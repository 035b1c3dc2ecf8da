"""Engine "tune": Ray Tune, where a trial reports as it trains and Tune's schedulers may stop it.

Tune runs in a thread, with a searcher that proposes what the loop submits; the study stays ours. Its results, in the
run's folder under `tune/`, are for TensorBoard and Tune's own tools. A trial costs some 30 ms here, 2 in engine "ray".
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.experiment.config_parser import _create_trial_from_spec, _make_parser
from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback
from ray.tune.search.search_algorithm import SearchAlgorithm

from ffnet_search.cluster import session
from ffnet_search.config.run_paths import RunPaths
from ffnet_search.config.schema import POPULATION, SearchSection
from ffnet_search.engines.tune.schedulers import make_scheduler, report_to
from ffnet_search.engines.tune.trainable import TuneTrainable, heard, outcome_of
from ffnet_search.evaluation.outcome import Ended, Evaluate, Failed, Outcome, Pruner
from ffnet_search.evaluation.schedule import ending, read_schedule
from ffnet_search.space.configuration import Configuration
from ffnet_search.space.search_space import SearchSpace

CRASHES = 3  # of workers, for which a candidate is held to be the cause
AHEAD = 2  # proposals that lie ready, so that Tune, which looks ten times a second, never finds none
WAKE_EVERY_S = 1.0
STOP_S = 30.0  # for Tune to end what runs


class Proposals(SearchAlgorithm):
    """Hands Tune what the loop submits, and the loop what Tune is told. Tune pickles it, which here would serve
    nothing: what there is to know is in the study. (No `Searcher`: population-based training refuses those.)"""

    def __init__(self, at_once: int, pruner: Pruner, trials: Path) -> None:
        self.at_once, self.pruner, self.trials = at_once, pruner, trials
        self.asked: queue.Queue[Configuration | None] = queue.Queue()
        self.told: queue.Queue[tuple[Configuration, Outcome]] = queue.Queue()
        self.live: dict[str, Configuration] = {}
        self._parser = _make_parser()

    @property
    def total_samples(self) -> int:
        return sys.maxsize

    def add_configurations(self, experiments: Any) -> None:
        (experiment,) = experiments
        self._spec = experiment.spec

    def next_trial(self) -> Trial | None:
        if self._finished or len(self.live) >= self.at_once:
            return None
        try:
            configuration = self.asked.get(block=not self.live)  # else Tune would sleep a second
        except queue.Empty:
            return None
        if configuration is None:
            self.set_finished()
            return None
        self.live[configuration.key] = configuration
        changed = ending(read_schedule(self.trials / configuration.key), configuration.hyperparameters)  # before a kill
        config = {"key": configuration.key, "proposal": replace(configuration, hyperparameters=changed), **changed}
        spec = {**self._spec, "config": {**self._spec["config"], **config}}
        return _create_trial_from_spec(spec, self._parser, trial_id=configuration.key)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        report_to(self.pruner, trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        configuration = self.live.pop(trial_id)
        if error or not result:
            self.told.put((configuration, Failed(f"its worker died {CRASHES} times")))
            return
        report_to(self.pruner, trial_id, result)
        self.told.put((configuration, outcome_of(configuration, heard(result))))

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: Any) -> Proposals:
        return self


class Tune:
    """See the head of this file, and `loop.Engine`."""

    def __init__(
        self,
        make_evaluate: Callable[[], Evaluate],
        section: SearchSection,
        folder: Path,
        pruner: Pruner,
        space: SearchSpace,
    ) -> None:
        self._make_evaluate, self._section, self._folder = make_evaluate, section, folder
        self._pruner = pruner
        self._scheduler = make_scheduler(section, space, pruner)
        self._in_flight = 0
        self._stopping = threading.Event()
        self._stack = ExitStack()

    def __enter__(self) -> Tune:
        self._cluster = self._stack.enter_context(session.connected())
        with ExitStack() as undo:  # __exit__ is not called where __enter__ raises
            undo.push(self._stack)
            self._wanted = session.granted(self._section.resources, self._cluster)
            workers = self._section.workers or max(1, self._cluster.fits(self._wanted))
            whole = (
                self._section.trials if self._section.scheduler.class_path == POPULATION else 0
            )  # at once, taking turns
            # One more than work: the next for the actor that is free first.
            self._proposals = Proposals(max(workers + 1, whole), self._pruner, RunPaths(self._folder.parent).trials)
            self._room = max(workers + AHEAD, whole)
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
    def free_slots(self) -> int:
        return self._room - self._in_flight

    @property
    def is_ready(self) -> bool:
        return not self._proposals.told.empty()

    @property
    def utilisation(self) -> dict[str, str]:
        workers = self._room - AHEAD
        return session.utilisation(min(workers, len(self._proposals.live)), workers, self._wanted)

    def submit(self, configuration: Configuration) -> None:
        self._in_flight += 1
        self._proposals.asked.put(configuration)

    def next(self) -> tuple[Configuration, Ended]:
        while True:
            try:
                configuration, outcome = self._proposals.told.get(timeout=WAKE_EVERY_S)
                break
            except queue.Empty:
                self._refuse_to_wait_for_ever()
        if isinstance(outcome, BaseException):
            raise outcome
        self._in_flight -= 1
        return configuration, outcome

    def _fit(self) -> None:
        needs = {name: need for name, need in session.as_ray(self._wanted).items() if need}
        trainable = tune.with_resources(
            tune.with_parameters(TuneTrainable, make_evaluate=self._make_evaluate), tune.PlacementGroupFactory([needs])
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
                    callbacks=[_Json(), _Csv()],
                ),
            ).fit()
        except BaseException as error:
            self._proposals.told.put((Configuration(None), error))

    def _refuse_to_wait_for_ever(self) -> None:
        if self._proposals.told.empty() and self._cluster.fits(self._wanted):
            self._waiting_since = time.monotonic()
        elif time.monotonic() - self._waiting_since > 60 * self._section.wait_minutes:
            what = f"after {self._section.wait_minutes:g} minutes (search.wait_minutes) the cluster"
            raise session.too_small(self._wanted, self._cluster, what)


class _Closing:
    """For a logger of Tune, which leaves the files open of trials that are under way where a search is ended."""

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        for trial in trials:
            self.log_trial_end(trial)  # type: ignore[attr-defined]


class _Json(_Closing, JsonLoggerCallback):
    pass


class _Csv(_Closing, CSVLoggerCallback):
    pass


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
    return str(trial.trial_id)
