"""The finished trials of a study, and the subset of them that a proposal is made from."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from ffnet_search.search.samplers.axis import Array
from ffnet_search.search.samplers.conditions import Conditions
from ffnet_search.search.samplers.encoding import identities

CHUNK = 500  # trials
CHUNK_BEST = 400  # trials that are kept of a chunk and of those kept before
CONDITIONS_STEP = 100  # trials, after which conditions are learnt again
ChooseBest = Callable[[list[FrozenTrial], int], list[FrozenTrial]]


class FinishedTrials:
    """Finished trials with their rows, in the order in which they finished: the first ones stay the first.

    `seen`: how many trials have each row, by its identity."""

    def __init__(self) -> None:
        self.trials: list[FrozenTrial] = []
        self.rows: dict[int, Array] = {}
        self.seen: Counter[bytes] = Counter()
        self._best: list[list[FrozenTrial]] = []  # after each chunk
        self._conditions: tuple[int, Conditions] | None = None  # and the number of trials they are learnt from

    def add(self, trial: FrozenTrial, row_A: Array) -> None:
        """Insert a trial and its row (A,) in the order of finishing."""
        position = bisect_right(self.trials, _when_finished(trial), key=_when_finished)
        self.trials.insert(position, trial)
        self.rows[trial.number] = row_A
        self.seen.update(identities(row_A[None]))
        del self._best[position // CHUNK :]
        if self._conditions and position < self._conditions[0]:
            self._conditions = None

    def encode(self, row_of: Callable[[FrozenTrial], Array]) -> None:
        """Compute all rows again, by a new encoding."""
        self.rows = {one.number: row_of(one) for one in self.trials}
        self.seen = Counter(self._identities(self.trials))
        self._conditions = None

    def seen_among(self, count: int) -> set[bytes]:
        """The identities of the rows of the first `count` trials."""
        later = Counter(self._identities(self.trials[count:]))
        return {identity for identity, times in self.seen.items() if times > later[identity]} if later else {*self.seen}

    def _identities(self, trials: Sequence[FrozenTrial]) -> Iterator[bytes]:
        return (identity for one in trials for identity in identities(self.rows[one.number][None]))

    def conditions(self, axes: int, count: int) -> Conditions:
        """The conditions between axes, learnt from the first `count` trials, rounded down to whole steps, and beyond
        two chunks to whole chunks."""
        count -= count % (CHUNK if count >= 2 * CHUNK else CONDITIONS_STEP if count >= CONDITIONS_STEP else 1)
        if self._conditions is None or self._conditions[0] != count:
            rows = [self.rows[one.number] for one in self.trials[:count]]
            self._conditions = count, Conditions(np.array(rows).reshape(-1, axes))
        return self._conditions[1]

    def subset(self, start: int, best: ChooseBest, count: int) -> list[FrozenTrial]:
        """The first `count` trials; beyond two chunks those of the random start (until `start` are complete), the best
        of whole chunks, and the newest.

        The subset depends on the trials alone: a resumed study has the same one. `best` chooses so many trials."""
        chunks = count // CHUNK - 1
        if chunks < 1:
            return self.trials[:count]
        for begin in range(len(self._best) * CHUNK, chunks * CHUNK, CHUNK):
            self._best.append(
                best([*(self._best[-1] if begin else ()), *self.trials[begin : begin + CHUNK]], CHUNK_BEST)
            )
        complete = [index for index, one in enumerate(self.trials[:CHUNK]) if one.state == TrialState.COMPLETE]
        first = complete[start - 1] + 1 if len(complete) >= start else CHUNK
        newest = self.trials[chunks * CHUNK : count]
        return list({one.number: one for one in (*self.trials[:first], *self._best[-1], *newest)}.values())


def _when_finished(trial: FrozenTrial) -> tuple[datetime, int]:
    return trial.datetime_complete or datetime.max, trial.number
