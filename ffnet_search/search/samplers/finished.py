"""The finished trials of a study, and the few of them that a proposal is made from."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from ffnet_search.search.samplers.encoding import Array, Conditions, identities

CHUNK = 500  # trials, of which the best are kept
KEPT = 400  # so many of them and of those kept before
Best = Callable[[list[FrozenTrial], int], list[FrozenTrial]]


class FinishedTrials:
    """Finished trials in the order in which they finished, so that the first stay the first, with their rows.

    `seen`: the identities of the rows."""

    def __init__(self) -> None:
        self.trials: list[FrozenTrial] = []
        self.rows: dict[int, Array] = {}
        self.seen: set[bytes] = set()
        self._best: list[list[FrozenTrial]] = []  # after each chunk
        self._conditions: tuple[int, Conditions] | None = None  # and of how many trials

    def add(self, trial: FrozenTrial, row_A: Array) -> None:
        """Add a trial, in its place."""
        place = bisect_right(self.trials, _when_finished(trial), key=_when_finished)
        self.trials.insert(place, trial)
        self.rows[trial.number] = row_A
        self.seen.update(identities(row_A[None]))
        del self._best[place // CHUNK :]
        if self._conditions and place < self._conditions[0]:
            self._conditions = None

    def encode(self, row_of: Callable[[FrozenTrial], Array]) -> None:
        """Encode all of them again."""
        self.rows = {one.number: row_of(one) for one in self.trials}
        self.seen = {identity for row_A in self.rows.values() for identity in identities(row_A[None])}
        self._conditions = None

    def conditions(self, axes: int) -> Conditions:
        """The conditions between axes: of all trials or, beyond two chunks, of all whole chunks."""
        count = len(self.trials)
        count -= count % CHUNK if count >= 2 * CHUNK else 0
        if self._conditions is None or self._conditions[0] != count:
            rows = [self.rows[one.number] for one in self.trials[:count]]
            self._conditions = count, Conditions(np.array(rows).reshape(-1, axes))
        return self._conditions[1]

    @property
    def chunks(self) -> int:
        """The number of whole ones: while it is the same, a new trial changes `few` at its end alone."""
        return len(self.trials) // CHUNK

    def few(self, start: int, best: Best) -> list[FrozenTrial]:
        """All trials; beyond two chunks those of the random start, the `best` of whole chunks, and the newest.

        They depend on the trials alone: a resumed study has the same ones."""
        chunks = self.chunks - 1
        if chunks < 1:
            return self.trials
        for at in range(len(self._best) * CHUNK, chunks * CHUNK, CHUNK):
            self._best.append(best([*(self._best[-1] if at else ()), *self.trials[at : at + CHUNK]], KEPT))
        complete = [at for at, one in enumerate(self.trials[:CHUNK]) if one.state == TrialState.COMPLETE]
        first = complete[start - 1] + 1 if len(complete) >= start else CHUNK
        newest = self.trials[chunks * CHUNK :]
        return list({one.number: one for one in (*self.trials[:first], *self._best[-1], *newest)}.values())


def _when_finished(trial: FrozenTrial) -> tuple[datetime, int]:
    return trial.datetime_complete or datetime.max, trial.number
