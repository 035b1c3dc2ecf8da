"""The finished trials of a study, and the few of them that a proposal is made from."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from ffnet_search.search.samplers.encoding import Array, Conditions, identities

CHUNK = 500  # trials, of which the best are kept
KEPT = 400  # so many of them and of those kept before
STEP = 100  # trials, after which conditions are learnt again
Best = Callable[[list[FrozenTrial], int], list[FrozenTrial]]


class FinishedTrials:
    """Finished trials in the order in which they finished, so that the first stay the first, with their rows.

    `seen`: how often each identity of a row is among them."""

    def __init__(self) -> None:
        self.trials: list[FrozenTrial] = []
        self.rows: dict[int, Array] = {}
        self.seen: Counter[bytes] = Counter()
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
        self.seen = Counter(self._identities(self.trials))
        self._conditions = None

    def seen_by(self, count: int) -> set[bytes]:
        """The identities of the rows of the first `count` trials."""
        later = Counter(self._identities(self.trials[count:]))
        return {identity for identity, times in self.seen.items() if times > later[identity]} if later else {*self.seen}

    def _identities(self, trials: Sequence[FrozenTrial]) -> Iterator[bytes]:
        return (identity for one in trials for identity in identities(self.rows[one.number][None]))

    def conditions(self, axes: int, count: int) -> Conditions:
        """The conditions between axes: of the first `count` trials, beyond `STEP` in whole steps, beyond two chunks in
        whole chunks."""
        count -= count % (CHUNK if count >= 2 * CHUNK else STEP if count >= STEP else 1)
        if self._conditions is None or self._conditions[0] != count:
            rows = [self.rows[one.number] for one in self.trials[:count]]
            self._conditions = count, Conditions(np.array(rows).reshape(-1, axes))
        return self._conditions[1]

    def few(self, start: int, best: Best, count: int) -> list[FrozenTrial]:
        """The first `count` trials; beyond two chunks those of the random start, the `best` of whole chunks, and the
        newest.

        They depend on the trials alone: a resumed study has the same ones."""
        chunks = count // CHUNK - 1
        if chunks < 1:
            return self.trials[:count]
        for at in range(len(self._best) * CHUNK, chunks * CHUNK, CHUNK):
            self._best.append(best([*(self._best[-1] if at else ()), *self.trials[at : at + CHUNK]], KEPT))
        complete = [at for at, one in enumerate(self.trials[:CHUNK]) if one.state == TrialState.COMPLETE]
        first = complete[start - 1] + 1 if len(complete) >= start else CHUNK
        newest = self.trials[chunks * CHUNK : count]
        return list({one.number: one for one in (*self.trials[:first], *self._best[-1], *newest)}.values())


def _when_finished(trial: FrozenTrial) -> tuple[datetime, int]:
    return trial.datetime_complete or datetime.max, trial.number
