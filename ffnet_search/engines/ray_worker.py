"""The worker of engine "ray": makes one evaluator and keeps it, in an actor of Ray.

Loads neither Optuna nor Tune, so that a node which only evaluates starts quickly. Errors come back as values: an actor
whose method raises reports less about them.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from ffnet_search.errors import SweepError
from ffnet_search.evaluation.outcome import Evaluate, Outcome, Pruner, run_safely
from ffnet_search.space.hyperparameters import Configuration


class Worker:
    """Evaluates batches of configurations, with reports to `pruner`."""

    def start(self, make_evaluate: Callable[[], Evaluate], pruner: Pruner) -> str | SweepError:
        """Make the evaluator. Return the id of this node, or the user error that was met."""
        import ray

        self._pruner = pruner
        try:
            self._evaluate = make_evaluate()
        except SweepError as error:
            return SweepError(f"{error} (on {socket.gethostname()})")
        return str(ray.get_runtime_context().get_node_id())

    def evaluate(self, batch: list[Configuration]) -> list[tuple[Outcome, float]]:
        """Return outcome and seconds of each configuration."""
        return [self._timed(configuration) for configuration in batch]

    def _timed(self, configuration: Configuration) -> tuple[Outcome, float]:
        start = time.perf_counter()
        outcome: Outcome
        try:
            outcome = run_safely(self._evaluate, configuration, self._pruner)
        except (SweepError, KeyboardInterrupt) as error:
            outcome = error
        return outcome, time.perf_counter() - start
