"""ParetoSampler: a Pareto front from few evaluations, by surrogates and expected hypervolume improvement.

`optuna.create_study(directions=[...], sampler=ParetoSampler(seed=0))` is enough: axes, conditions, constraints and the
reference point are learnt from the study. docs/samplers.md says what was measured, and where other samplers are better.
"""

from __future__ import annotations

import math
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from functools import lru_cache
from threading import RLock
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ffnet_search.search.samplers.acquisition import Acquisition, Cache
from ffnet_search.search.samplers.encoding import Array, Encoding, identities
from ffnet_search.search.samplers.finished import CHUNK, FinishedTrials
from ffnet_search.search.samplers.observations import LEARNT_FROM, Observations, Reference, reference_of
from ffnet_search.search.samplers.proposal import Known, KnownFunction, Proposal

AHEAD, SHARE = 16, 4  # proposals of one fit: at most so many, and a quarter of those pending
LATE, TOGETHER = 384, 4  # from so many finished trials on, a few more change little: so many proposals of one fit,
AHEAD_LATE, SHARE_LATE = 32, 2  # and half of those pending
NO_BLOCK = -1
FAR = 0.25  # of the proposals are by the far reference point
__all__ = ["Known", "ParetoSampler"]


class ParetoSampler(BaseSampler):
    """Proposes by expected hypervolume improvement, after `start` random trials; with workers, once half of these are
    finished and the others are pending.

    `known`: parameters -> metrics that need no evaluation; they replace predictions, and what exceeds a limit is not
    proposed.
    `reference`: the worst value of interest of each objective; None if the random start is to tell. A proposal
    depends on the seed, its number and the trials of the study, so that a resumed study proposes what an uninterrupted
    one would, if no trial was running. Nothing is proposed twice while something new is near. Threads may share it."""

    resumes = True  # with the seed of its first run

    def __init__(
        self,
        seed: int | None = None,
        *,
        start: int = 16,
        known: KnownFunction | None = None,
        reference: Sequence[float | None] | None = None,
    ) -> None:
        if start < 2:
            raise ValueError(f"start must be >= 2, but got {start}")
        self.seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self.start, self.reference = start, reference
        self._known = None if known is None else _remembered(known)
        self._lock = RLock()
        self._begin(("", None))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state, _lock=RLock())

    def _begin(self, study: tuple[str, datetime | None]) -> None:
        """Reset the state, for a study with this name and start of its first trial."""
        self._study = study
        self._space: dict[str, BaseDistribution] = {}
        self._conditional: frozenset[str] = frozenset()
        self._encoding: Encoding | None = None
        self._finished = FinishedTrials()
        self._trials = 0  # of the study, when it was last read
        self._waiting: list[int] = []  # places of those that were not finished then
        self._cache: Cache = {}
        self._chunks = 0  # of trials told, when the cache was begun
        self._drawn: deque[Array] = deque()
        self._block = NO_BLOCK  # of late trials, that those drawn are for
        self._proposed: dict[int, Mapping[str, Any]] = {}  # of trials that may not have them in the study yet
        self._running: dict[int, tuple[int, Array]] = {}  # number of parameters and row of running trials

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All axes that finished trials had, each as it was last; before there are any, those of running ones."""
        with self._lock:
            self._update(study)
            return dict(self._space)

    def _update(self, study: Study) -> list[FrozenTrial]:
        """Learn the trials that have finished since. Returns all trials."""
        trials = study.get_trials(deepcopy=False)
        begun = study.study_name, trials[0].datetime_start if trials else None
        if begun != self._study:
            self._begin(begun)
        places = [*self._waiting, *range(self._trials, len(trials))]
        self._waiting, self._trials = [at for at in places if not trials[at].state.is_finished()], len(trials)
        for at in places:
            if trials[at].state.is_finished():
                self._proposed.pop(trials[at].number, None)
                self._running.pop(trials[at].number, None)
                self._learn(trials[at])
        if not self._finished.rows:
            space = {name: axis for one in trials for name, axis in one.distributions.items()}
            if list(space.items()) != list(self._space.items()):  # in another order they are encoded otherwise too
                self._space, self._encoding = space, Encoding(space) if space else None
                self._drawn.clear()
                self._running.clear()
        return trials

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value: of the first trial, and of axes that no trial had before."""
        sampler = RandomSampler(seed=int(self._rng(trial, param_name).integers(2**31)))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters of a new configuration."""
        with self._lock, one_thread():
            trials = self._update(study)  # other threads may have finished some since the axes were asked for
            encoding = self._encoding
            if not search_space or encoding is None:
                return {}
            waiting = [trials[at] for at in self._waiting if trials[at].number != trial.number]
            running = [one for one in waiting if one.state == TrialState.RUNNING]
            row_A = self._proposal(study, trial, encoding, running)
            self._proposed[trial.number] = {
                name: value for name, value in encoding.params(row_A).items() if name in search_space
            }
            # Optuna may ask for axes without effect too.
            filled_A = np.where(np.isnan(row_A), encoding.draw(self._rng(trial, "filled"), 1)[0], row_A)
            return {name: value for name, value in encoding.params(filled_A).items() if name in search_space}

    def _rng(self, trial: FrozenTrial, purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, trial.number, zlib.crc32(purpose.encode())])

    def _proposal(self, study: Study, trial: FrozenTrial, encoding: Encoding, running: Sequence[FrozenTrial]) -> Array:
        """A new row."""
        rows = [self._row_of(one, encoding) for one in running if one.params or one.number in self._proposed]
        told, axes = len(self._finished.trials), len(encoding.axes)
        pending_PA = np.array(rows).reshape(-1, axes)
        if rows:
            self._block = NO_BLOCK
        else:
            self._begin_block(study, encoding, told)
        conditions = self._finished.conditions(axes, told)
        pending_PA = conditions.keep(pending_PA)  # of those proposed some axes have no effect
        pending = set(identities(pending_PA))
        while self._drawn:
            row_A = self._drawn.popleft()
            if (identity := identities(row_A[None])[0]) not in self._finished.seen and identity not in pending:
                return row_A
        observed, rng = self._observed(study, encoding, told), np.random.default_rng([self.seed, trial.number])
        seen = self._finished.seen_by(told) | pending
        proposal = Proposal(encoding, conditions, rng, seen, _signs(study), self._known, observed.costs)
        if told >= LATE and rows:
            wanted = max(TOGETHER, min(AHEAD_LATE, len(rows) // SHARE_LATE))
        else:
            wanted = max(1, min(AHEAD, len(rows) // SHARE))
        self._drawn.extend(self._rows(observed, proposal, pending_PA, wanted))
        return self._drawn.popleft()

    def _row_of(self, trial: FrozenTrial, encoding: Encoding) -> Array:
        """The row of a running trial, which may not have all its parameters yet."""
        count, row_A = self._running.get(trial.number, (-1, None))
        if row_A is None or count != len(trial.params):
            params = {**self._proposed.get(trial.number, {}), **trial.params}
            row_A = encoding.row(self._effective(params))
            self._running[trial.number] = len(trial.params), row_A
        return row_A

    def _begin_block(self, study: Study, encoding: Encoding, told: int) -> None:
        """Forget what was drawn, unless for the block of trials that is in progress; draw for a block of late ones.

        By the trials before the block alone: a study resumed within it draws the same."""
        block = told - told % TOGETHER if told >= LATE else NO_BLOCK
        if block == self._block != NO_BLOCK:
            return
        self._block = block
        self._drawn.clear()
        if block == NO_BLOCK:
            return
        observed, rng = self._observed(study, encoding, block), np.random.default_rng([self.seed, block])
        conditions, seen = self._finished.conditions(len(encoding.axes), block), self._finished.seen_by(block)
        proposal = Proposal(encoding, conditions, rng, seen, _signs(study), self._known, observed.costs)
        self._drawn.extend(self._rows(observed, proposal, np.empty((0, len(encoding.axes))), TOGETHER))

    def reference_point(self, study: Study) -> list[float] | None:
        """The reference point in the study's units, the far one; None before the end of the random start."""
        with self._lock:
            self._update(study)
            told, encoding = len(self._finished.trials), self._encoding
            observed = None if encoding is None else self._observed(study, encoding, told)
            if observed is None or int(observed.complete_N.sum()) < self.start:
                return None
            far_M = self._reference(observed, _signs(study)).far_M
        far_M = np.array([math.exp(x) if at in observed.costs else x for at, x in enumerate(far_M)])
        return list((far_M * _signs(study)).tolist())

    def _learn(self, trial: FrozenTrial) -> None:
        """Encode a finished trial. All are encoded again where its axes are others than those before."""
        if not trial.distributions:
            return
        known = self._space if self._finished.rows else {}  # running trials may have few of their axes
        space, effective = {**known, **trial.distributions}, self._effective(trial.params)
        conditional = self._conditional | {name for name in space if name not in effective}
        if self._finished.rows:
            conditional |= space.keys() - known.keys()  # those before lack it
        if space != known or conditional != self._conditional:
            self._space, self._conditional, self._cache = space, frozenset(conditional), {}
            self._encoding = encoding = Encoding(space, conditional)
            self._finished.encode(lambda one: encoding.row(self._effective(one.params)))
            self._drawn.clear()  # rows of the encoding before
            self._running.clear()
            self._block = NO_BLOCK
        assert self._encoding is not None
        self._finished.add(trial, self._encoding.row(effective))

    def _effective(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parameters that have an effect."""
        known = None if self._known is None else self._known(params).params
        return params if known is None else known

    def _observed(self, study: Study, encoding: Encoding, count: int) -> Observations:
        """Those of the first `count` trials that a proposal is made from."""
        signs, rows = _signs(study), self._finished.rows

        def observed(trials: Sequence[FrozenTrial]) -> Observations:
            return Observations.of(encoding, trials, rows, signs).without_doubles().without_infinities()

        def best(trials: list[FrozenTrial], count: int) -> list[FrozenTrial]:
            trials = [one for one in trials if one.state in LEARNT_FROM]
            return [trials[at] for at in np.sort(observed(trials).best(count)).tolist()]

        if count // CHUNK != self._chunks:  # weights would be those of other trials than in a resumed study
            self._chunks, self._cache = count // CHUNK, {}
        few = self._finished.few(self.start, best, count)
        known = self._known(few[0].params).values if self._known and few else ()
        return observed(few).with_costs(known, self.start)

    def _reference(self, observed: Observations, signs: Array) -> Reference:
        return reference_of(observed.first(self.start), self.reference, signs)

    def _rows(
        self, observed: Observations, proposal: Proposal, pending_PA: Array, wanted: int
    ) -> Sequence[Array] | Array:
        """New rows, one of the random start or so many from one fit; at least one."""
        complete = int(observed.complete_N.sum())
        is_asked_for = 2 * complete >= self.start <= complete + len(pending_PA)  # all of the start
        if complete < self.start and not is_asked_for:
            if len(observed.rows_NA) < 2 * self.start or self._known:
                return [proposal.random(observed)]
            return [proposal.towards_limits(observed)]  # nearly nothing is feasible
        reference = self._reference(observed, proposal.signs)
        if observed.costs and proposal.rng.random() < FAR:
            reference = reference._replace(point_M=reference.far_M)
        acquisition = Acquisition(proposal.encoding, observed, pending_PA, reference, self._cache)
        best_PA = proposal.best(observed, acquisition, wanted)
        return best_PA if len(best_PA) else [proposal.another(observed)]


@lru_cache(maxsize=1)
def _threads() -> Any:
    try:
        from threadpoolctl import ThreadpoolController  # comes with scikit-learn
    except ImportError:
        return None
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """One thread for linear algebra: matrices are small, and others that wait for work cost ten times the CPU time."""
    threads = _threads()
    return nullcontext() if threads is None else threads.limit(limits=1, user_api="blas")


def _signs(study: Study) -> Array:
    """-1 for each objective that is maximised, else 1."""
    return np.array([-1.0 if one == StudyDirection.MAXIMIZE else 1.0 for one in study.directions])


def _remembered(known: KnownFunction) -> KnownFunction:
    """The function with a cache of its results: the same parameters are asked for again and again."""
    cached = lru_cache(maxsize=8192)(lambda items: known(dict(items)))
    return lambda params: cached(tuple(params.items()))
