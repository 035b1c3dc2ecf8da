"""The queue of a search: configurations that are evaluated before the sampler proposes any."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable

from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.pending_trials import PendingTrial, PendingTrials
from ffnet_search.search.storage.trial_params import configuration_of
from ffnet_search.space.hyperparameters import Configuration


class TrialQueue:
    """Origins and configurations, each once: interrupted trials, then the ends and presets of the space.

    `deferred` are those by key that begin after another trial, since they were preempted so often; `known` the keys of
    configurations that need no evaluation."""

    def __init__(self, problem: SearchProblem, pending: PendingTrials, known: Container[str]) -> None:
        self._problem = problem
        self.deferred = {one.key: (origin, one) for origin, one in self._without_result(pending.later, known)}
        first = self._without_result(pending.left, known)
        for origin, arch in problem.initial_architectures():
            first.append((origin, Configuration(arch, problem.initial_hyperparameters)))
        unique: dict[str, tuple[str, Configuration]] = {}
        for origin, config in first:
            if config.key not in known and config.key not in self.deferred:
                unique.setdefault(config.key, (origin, config))
        self._queue = deque(unique.values())

    def _without_result(self, trials: Iterable[PendingTrial], known: Container[str]) -> list[tuple[str, Configuration]]:
        configs = [(trial.origin, configuration_of(self._problem.space, trial.params)) for trial in trials]
        return [(origin, config) for origin, config in configs if config.key not in known]

    def push_front(self, origin: str, configuration: Configuration) -> None:
        """Make a configuration the next one."""
        self._queue.appendleft((origin, configuration))

    def pop(self) -> tuple[str, Configuration | None]:
        """The origin and the configuration of the next trial; ("sampler", None) where the queue is empty."""
        return self._queue.popleft() if self._queue else ("sampler", None)

    def release_deferred(self) -> None:
        """Let the deferred trials begin, once another has ended: so each start of the search makes one more trial,
        whatever ends it again."""
        self._queue.extendleft(self.deferred.values())
        self.deferred = {}
