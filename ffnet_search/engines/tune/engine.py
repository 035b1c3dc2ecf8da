"""Engine "tune": Ray Tune, where a trial reports as it trains and Tune's schedulers may stop it.

Tune runs in a thread, with a search algorithm that proposes what the loop submits; the study stays ours. Tune's own
results, in the run's folder under `tune/`, are for TensorBoard and Tune's tools. A trial costs some 30 ms here, 2 in
engine "ray". This module loads no Ray: `session.import_ray` comes first.
"""

from __future__ import annotations

import queue
import threading
import time
from contextlib import ExitStack

from ffnet_search.cluster import session
from ffnet_search.config.files import RunPaths
from ffnet_search.config.search_schema import POPULATION, SearchSection
from ffnet_search.evaluation.engine import Engine, EngineContext
from ffnet_search.evaluation.outcome import Ended
from ffnet_search.space.hyperparameters import Configuration

QUEUED_AHEAD = 2  # configurations that lie ready, so that Tune, which looks ten times a second, always finds one
WAKE_EVERY_S = 1.0
STOP_S = 30.0  # for Tune to end what runs


class TuneEngine(Engine):
    """An engine whose trials are Ray Tune's. When entered, raises SweepError for a scheduler that Tune refuses."""

    trains_on_cluster = True
    evaluates_here = False

    def __init__(self, context: EngineContext) -> None:
        super().__init__(context)
        self._section = context.section
        self._in_flight = 0
        self._stopping = threading.Event()
        self._stack = ExitStack()

    @classmethod
    def check(cls, section: SearchSection) -> None:
        session.check_cluster()

    def __enter__(self) -> TuneEngine:
        session.import_ray()
        from ffnet_search.engines.tune.schedulers import make_scheduler
        from ffnet_search.engines.tune.tuner import Proposals, run_tune

        scheduler = make_scheduler(self._section, self.context.space, self.context.pruner)
        self._cluster = self._stack.enter_context(session.connected(self.context.user_code))
        with ExitStack() as undo:  # __exit__ is not called where __enter__ raises
            undo.push(self._stack)
            self._wanted = session.granted(self._section.resources, self._cluster)
            self._workers = self._section.workers or max(1, self._cluster.fits(self._wanted))
            is_population = self._section.scheduler.class_path == POPULATION
            at_once = self._section.trials if is_population else 0  # the whole population, taking turns
            # One more than workers: the next trial for the actor that is free first.
            self._proposals = Proposals(
                max(self._workers + 1, at_once), self.context.pruner, RunPaths(self.context.folder).trials
            )
            self._slots = max(self._workers + QUEUED_AHEAD, at_once)
            args = (self.context, self._wanted, self._proposals, scheduler, self._stopping)
            self._thread = threading.Thread(target=run_tune, args=args, name="tune", daemon=True)
            self._waiting_since = time.monotonic()
            self._thread.start()
            undo.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stopping.set()
        self._proposals.submitted.put(None)
        self._thread.join(STOP_S)
        self._stack.close()

    @property
    def free_slots(self) -> int:
        return self._slots - self._in_flight

    @property
    def is_ready(self) -> bool:
        return not self._proposals.ended.empty()

    @property
    def utilisation(self) -> dict[str, str]:
        return session.utilisation(min(self._workers, len(self._proposals.live)), self._workers, self._wanted)

    def submit(self, configuration: Configuration) -> None:
        self._in_flight += 1
        self._proposals.submitted.put(configuration)

    def next(self) -> tuple[Configuration, Ended]:
        while True:
            try:
                configuration, outcome = self._proposals.ended.get(timeout=WAKE_EVERY_S)
                break
            except queue.Empty:
                self.check_time()
                self._limit_the_wait()
        if isinstance(outcome, BaseException):
            raise outcome
        self._in_flight -= 1
        return configuration, outcome

    def _limit_the_wait(self) -> None:
        """Raise SweepError where the cluster has had no room for a worker for `search.wait_minutes`, or has ended."""
        self._cluster.check()
        if self._proposals.ended.empty() and self._cluster.fits(self._wanted):
            self._waiting_since = time.monotonic()
        else:
            session.limit_the_wait(self._waiting_since, self._section, self._wanted, self._cluster)
