"""Engine "ray": a pool of actors, each of which makes one evaluator and keeps it.

Each worker has one call in progress and one that waits, so that a GPU never waits for this process. A call holds
several configurations where they are quick. A worker that dies is replaced. What it was evaluating is tried again, one
configuration a call, to see which one is the cause; a configuration that was there at `CRASHES` deaths is a failed
trial. A node that is lost is not the fault of a configuration.
"""

from __future__ import annotations

import re
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from ffnet_search.cluster import session
from ffnet_search.cluster.signals import end_at_once
from ffnet_search.config.search_schema import SearchSection
from ffnet_search.engines.ray_pruner import remote_pruner
from ffnet_search.errors import SweepError, one_line
from ffnet_search.evaluation.engine import CRASHES, Engine, EngineContext
from ffnet_search.evaluation.outcome import Ended, Evaluate, Failed, Outcome, Pruner, run_safely
from ffnet_search.space.hyperparameters import Configuration

DEPTH = 2  # calls per worker: one in progress, one that waits
CALL_S = 0.05  # of a call, as a target: long against its own cost (2 ms), short enough for informed proposals
LARGEST_CALL = 16
LOOK_EVERY_S = 5.0  # for nodes that joined
WAKE_EVERY_S = 1.0
UNCLEAR_S = 0.1  # until a worker that does not answer while it starts is asked again


class Worker:
    """Makes one evaluator and evaluates batches of configurations, with reports to `pruner`.

    Errors come back as values: an actor whose method raises reports less about them."""

    def start(self, make_evaluate: Callable[[], Evaluate], pruner: Pruner, minutes: float | None) -> str | SweepError:
        """Make the evaluator. Return the id of this node, or the user error that was met. `minutes` limit a trial."""
        import ray

        self._pruner, self._minutes = pruner, minutes
        signal.signal(signal.SIGTERM, end_at_once)
        try:
            self._evaluate = make_evaluate()
        except SweepError as error:
            return SweepError(f"{error} (on {socket.gethostname()})")
        return str(ray.get_runtime_context().get_node_id())

    def evaluate(self, batch: list[Configuration]) -> list[tuple[Outcome, float]]:
        """Return outcome and seconds of each configuration."""
        results: list[tuple[Outcome, float]] = []
        for configuration in batch:
            start = time.perf_counter()
            outcome: Outcome
            try:
                outcome = run_safely(self._evaluate, configuration, self._pruner, self._minutes)
            except (SweepError, KeyboardInterrupt) as error:
                outcome = error
            results.append((outcome, time.perf_counter() - start))
        return results


@dataclass(eq=False)
class _PoolWorker:
    """A worker as this process sees it. `calls`: reference -> configurations, in the order of their evaluation."""

    actor: Any
    node: str = ""  # id of its node; empty until it has started
    calls: dict[Any, list[Configuration]] = field(default_factory=dict)


class RayPoolEngine(Engine):
    """A pool of Ray actors; see the module's docstring."""

    trains_on_cluster = True
    evaluates_here = False

    def __init__(self, context: EngineContext) -> None:
        super().__init__(context)
        self._section = context.section
        self._workers: list[_PoolWorker] = []
        self._waiting: deque[Configuration] = deque()
        self._suspects: deque[Configuration] = deque()  # in progress when a worker died: evaluated one a call
        self._crashes: Counter[str] = Counter()
        self._results: deque[tuple[Configuration, Ended]] = deque()
        self._call_size = 1
        self._seconds = 0.0  # of one evaluation, a moving average
        self._lost_at_start = 0
        self._looked = self._idle_since = 0.0
        self._stack = ExitStack()

    @classmethod
    def check(cls, section: SearchSection) -> None:
        session.check_cluster()

    def __enter__(self) -> RayPoolEngine:
        self._cluster = self._stack.enter_context(session.connected(self.context.user_code))
        with ExitStack() as undo:  # __exit__ is not called where __enter__ raises
            undo.push(self._stack)
            import ray

            self._ray = ray
            self._wanted = session.granted(self._section.resources, self._cluster)
            self._actor = ray.remote(**session.options(self._wanted), max_restarts=0, max_task_retries=0)(Worker)
            self._make_evaluate = ray.put(self.context.make_evaluate)  # once; nodes fetch it from each other
            self._pruner = self._stack.enter_context(remote_pruner(self.context.pruner))
            self._idle_since = time.monotonic()
            self._start_workers()
            undo.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        for worker in self._workers:
            self._ray.kill(worker.actor)
        self._workers.clear()
        self._stack.close()

    @property
    def free_slots(self) -> int:
        in_progress = sum(len(batch) for worker in self._workers for batch in worker.calls.values())
        queued = len(self._waiting) + len(self._suspects) + len(self._results)
        return max(0, max(1, len(self._workers)) * DEPTH * self._call_size - in_progress - queued)

    @property
    def is_ready(self) -> bool:
        return bool(self._results)

    @property
    def utilisation(self) -> dict[str, str]:
        busy = sum(bool(worker.node and worker.calls) for worker in self._workers)
        return session.utilisation(busy, len(self._workers), self._wanted)

    def submit(self, configuration: Configuration) -> None:
        self._waiting.append(configuration)
        self._hand_out()

    def next(self) -> tuple[Configuration, Ended]:
        while not self._results:
            self.check_time()
            self._start_workers()
            self._hand_out()
            calls = {ref: worker for worker in self._workers for ref in worker.calls}
            ready, others = self._ray.wait(list(calls), num_returns=1, timeout=WAKE_EVERY_S)
            self._cluster.check()
            if ready and others:  # and all others that have ended meanwhile
                ready += self._ray.wait(others, num_returns=len(others), timeout=0)[0]
            for ref in ready:
                self._take(calls[ref], ref)
            if not any(worker.node for worker in self._workers):
                session.limit_the_wait(self._idle_since, self._section, self._wanted, self._cluster)
        return self._results.popleft()

    def _start_workers(self) -> None:
        """Replace workers that died, and use nodes that joined. Where nothing fits now, one is asked for all the same:
        an autoscaler starts nodes for what waits."""
        if self._workers and time.monotonic() - self._looked < LOOK_EVERY_S:
            return
        self._looked = time.monotonic()
        wanted = self._section.workers or max(1, self._cluster.fits(self._wanted))
        for _ in range(wanted - len(self._workers)):
            worker = _PoolWorker(self._actor.remote())
            self._workers.append(worker)
            self._start(worker)

    def _start(self, worker: _PoolWorker) -> None:
        started = worker.actor.start.remote(self._make_evaluate, self._pruner, self._section.trial_minutes)
        worker.calls = {started: []}

    def _hand_out(self) -> None:
        for depth in range(DEPTH):
            free = [worker for worker in self._workers if worker.node and len(worker.calls) == depth]
            for number, worker in enumerate(free):
                batch = self._batch(len(free) - number)
                if not batch:
                    return
                worker.calls[worker.actor.evaluate.remote(batch)] = batch

    def _batch(self, free: int) -> list[Configuration]:
        """The configurations of one call, which leaves some for the other `free` workers."""
        if self._suspects:
            return [self._suspects.popleft()]
        size = min(self._call_size, -(-len(self._waiting) // free))
        return [self._waiting.popleft() for _ in range(size)]

    def _take(self, worker: _PoolWorker, ref: Any) -> None:
        """Read the result of a call that has ended."""
        if ref not in worker.calls:  # of a worker whose death was noticed a moment ago
            return
        try:
            value = self._ray.get(ref)
        except self._ray.exceptions.RayActorError as error:
            if worker.node or not isinstance(error, self._ray.exceptions.ActorUnavailableError):
                self._lose(worker, error)
            else:  # Ray does not know yet whether it lives, or what it died of
                time.sleep(UNCLEAR_S)
                self._start(worker)
            return
        except ImportError as error:  # Ray raises here what was raised there
            raise _lacks_packages(error) from None
        batch = worker.calls.pop(ref)
        if not worker.node:
            if isinstance(value, BaseException):
                raise value
            worker.node, self._lost_at_start = value, 0
            return
        for configuration, (outcome, seconds) in zip(batch, value, strict=True):
            if isinstance(outcome, BaseException):
                raise outcome
            self._results.append((configuration, outcome))
            self._seconds = 0.8 * self._seconds + 0.2 * seconds if self._seconds else seconds
        self._call_size = max(1, min(LARGEST_CALL, int(CALL_S / max(self._seconds, 1e-6))))

    def _lose(self, worker: _PoolWorker, error: Exception) -> None:
        """Replace a dead worker: its finished calls count, the one in progress is suspect, others take the rest."""
        self._ray.kill(worker.actor)
        self._workers.remove(worker)
        self._looked, self._idle_since = 0.0, time.monotonic()
        if not worker.node:
            self._lose_at_start(error)
            return
        is_crash = worker.node in self._cluster.living()
        calls, worker.calls = worker.calls, {}
        for ref, batch in calls.items():
            if self._has_value(ref):
                worker.calls[ref] = batch
                self._take(worker, ref)
            elif is_crash:
                is_crash = False  # calls after the first had not begun
                self._suspect(batch, error)
            else:
                self._waiting.extendleft(reversed(batch))

    def _lose_at_start(self, error: Exception) -> None:
        if getattr(error, "actor_init_failed", False):
            raise _lacks_packages(error)
        if is_of_node(error):
            return
        self._lost_at_start += 1
        if self._lost_at_start == CRASHES:
            raise SweepError(
                f"search: {CRASHES} workers in a row died while they loaded the supernet and the data "
                f"({_reason(error)}); where it was for want of memory, ask for more search.resources.memory_gb"
            )

    def _suspect(self, batch: list[Configuration], error: Exception) -> None:
        for configuration in batch:
            self._crashes[configuration.key] += 1
            if self._crashes[configuration.key] < CRASHES:
                self._suspects.append(configuration)
            else:
                reason = f"its worker died {CRASHES} times, the last time with: {_reason(error)}"
                self._results.append((configuration, Failed(reason, str(error))))

    def _has_value(self, ref: Any) -> bool:
        """True if a call of a dead worker had ended."""
        try:
            return bool(self._ray.wait([ref], timeout=0)[0]) and self._ray.get(ref) is not None
        except self._ray.exceptions.RayActorError:
            return False


def is_of_node(error: Exception) -> bool:
    """True if a worker died with its node, in Ray's words: before it has started, it has not said where it is."""
    return "its node has died" in str(error)


def _reason(error: Exception) -> str:
    """The relevant line of Ray's report of a death."""
    text = one_line(error)
    line = re.search(r"(?:Worker exit detail|The actor (?:died|is dead) because(?: of)?):? (.{1,200}?)(?:\.|$)", text)
    return line.group(1) if line else text[:200]


def _lacks_packages(error: Exception) -> SweepError:
    """The error for a node that cannot import what a worker consists of."""
    *_, line = str(error).strip().splitlines()
    address = re.search(r"\bip=([^,)\s]+)", str(error))
    where = f" on node {address.group(1)}" if address else ""
    return SweepError(
        f"search: a worker{where} cannot load this program ({line}); every node needs the packages of pyproject.toml, "
        "of the same versions as here"
    )
