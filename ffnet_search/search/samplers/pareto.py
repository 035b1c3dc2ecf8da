"""ParetoSampler: a Pareto front from few evaluations, by surrogates and expected hypervolume improvement.

`optuna.create_study(directions=[...], sampler=ParetoSampler(seed=0))` is enough: axes, conditions, constraints and the
reference point are learnt from the study. docs/samplers.md says what was measured, and where other samplers are better.
"""

from __future__ import annotations

import math
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
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
from ffnet_search.search.samplers.axis import Array
from ffnet_search.search.samplers.blas_threads import one_thread
from ffnet_search.search.samplers.encoding import Encoding, identities
from ffnet_search.search.samplers.finished import CHUNK, FinishedTrials
from ffnet_search.search.samplers.observations import OBSERVED_STATES, Observations, Reference, reference_of
from ffnet_search.search.samplers.proposal import Known, KnownFunction, Proposal

# Proposals of one fit of the surrogates: one for every 4 pending trials, at most 16. From 384 finished trials on, a few
# more change little: then one for every 2 pending trials, 4 to 32.
BATCH, PENDING_PER_PROPOSAL = 16, 4
LATE_FROM, LATE_BLOCK, LATE_BATCH, LATE_PENDING_PER_PROPOSAL = 384, 4, 32, 2
NO_BLOCK = -1
FAR_POINT_SHARE = 0.25  # the share of proposals that are made by the far reference point
__all__ = ["Known", "ParetoSampler"]


class ParetoSampler(BaseSampler):
    """Proposes by expected hypervolume improvement, after `start` random trials; with workers, once half of these are
    finished and the others are pending.

    `known`: parameters -> metrics that need no evaluation; they replace predictions, and a configuration that exceeds a
    limit is not proposed. `reference`: the worst value of interest of each objective; None where it is to be computed
    from the random start. Raises ValueError if `start` is below 2.

    A proposal depends on the seed, its number and the trials of the study, so that a resumed study proposes what an
    uninterrupted one would, if no trial was running. No configuration is proposed twice while a new one is near a
    trial. Threads may share a sampler."""

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
        self._known = None if known is None else _cached(known)
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
        self._trial_count = 0  # of the study, when it was last read
        self._unfinished: list[int] = []  # the indices of those that were not finished then
        self._cache: Cache = {}
        self._chunk_count = 0  # chunks of finished trials, when the cache was begun
        self._batch: deque[Array] = deque()  # rows of the last fit that are still to be proposed
        self._block = NO_BLOCK  # the number of finished trials that the batch of a late block is made from
        self._proposed: dict[int, Mapping[str, Any]] = {}  # by trial: parameters that the study may not have yet
        self._running: dict[int, tuple[int, Array]] = {}  # by running trial: its number of parameters, and its row

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The axes of finished trials, each as it was last; before there are any, those of running trials."""
        with self._lock:
            self._update(study)
            return dict(self._space)

    def _update(self, study: Study) -> list[FrozenTrial]:
        """Learn the trials that have finished since the last call. Returns all trials."""
        trials = study.get_trials(deepcopy=False)
        identity = study.study_name, trials[0].datetime_start if trials else None
        if identity != self._study:
            self._begin(identity)
        indices = [*self._unfinished, *range(self._trial_count, len(trials))]
        self._unfinished = [index for index in indices if not trials[index].state.is_finished()]
        self._trial_count = len(trials)
        for index in indices:
            if trials[index].state.is_finished():
                self._proposed.pop(trials[index].number, None)
                self._running.pop(trials[index].number, None)
                self._learn(trials[index])
        if not self._finished.rows:
            space = {name: axis for one in trials for name, axis in one.distributions.items()}
            if list(space.items()) != list(self._space.items()):  # in another order they are encoded otherwise too
                self._space, self._encoding = space, Encoding(space) if space else None
                self._batch.clear()
                self._running.clear()
        return trials

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value, for the first trial and for axes that no trial had before."""
        sampler = RandomSampler(seed=int(self._rng(trial, param_name).integers(2**31)))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters of a new configuration, of the axes in `search_space`."""
        with self._lock, one_thread():
            trials = self._update(study)  # other threads may have finished some since the axes were asked for
            encoding = self._encoding
            if not search_space or encoding is None:
                return {}
            unfinished = [trials[index] for index in self._unfinished if trials[index].number != trial.number]
            running = [one for one in unfinished if one.state == TrialState.RUNNING]
            row_A = self._proposal(study, trial, encoding, running)
            self._proposed[trial.number] = {
                name: value for name, value in encoding.params(row_A).items() if name in search_space
            }
            # Optuna may ask for axes without effect too.
            filled_A = np.where(np.isnan(row_A), encoding.draw(self._rng(trial, "filled"), 1)[0], row_A)
            return {name: value for name, value in encoding.params(filled_A).items() if name in search_space}

    def _rng(self, trial: FrozenTrial, purpose: str) -> np.random.Generator:
        """The generator of a trial for one purpose: the same in a resumed study."""
        return np.random.default_rng([self.seed, trial.number, zlib.crc32(purpose.encode())])

    def _proposal(self, study: Study, trial: FrozenTrial, encoding: Encoding, running: Sequence[FrozenTrial]) -> Array:
        """A new row (A,): of the batch before, or the first of a new one."""
        rows = [self._row_of(one, encoding) for one in running if one.params or one.number in self._proposed]
        count, axes = len(self._finished.trials), len(encoding.axes)
        pending_PA = np.array(rows).reshape(-1, axes)
        if rows:
            self._block = NO_BLOCK
        else:
            self._begin_block(study, encoding, count)
        conditions = self._finished.conditions(axes, count)
        pending_PA = conditions.keep(pending_PA)  # some axes of proposed rows have no effect
        pending = set(identities(pending_PA))
        while self._batch:
            row_A = self._batch.popleft()
            if (identity := identities(row_A[None])[0]) not in self._finished.seen and identity not in pending:
                return row_A
        observed, rng = self._observed(study, encoding, count), np.random.default_rng([self.seed, trial.number])
        seen = self._finished.seen_among(count) | pending
        proposal = Proposal(encoding, conditions, rng, seen, _signs(study), self._known, observed.costs)
        if count >= LATE_FROM and rows:
            wanted = max(LATE_BLOCK, min(LATE_BATCH, len(rows) // LATE_PENDING_PER_PROPOSAL))
        else:
            wanted = max(1, min(BATCH, len(rows) // PENDING_PER_PROPOSAL))
        self._batch.extend(self._rows(observed, proposal, pending_PA, wanted))
        return self._batch.popleft()

    def _row_of(self, trial: FrozenTrial, encoding: Encoding) -> Array:
        """The row (A,) of a running trial, which may not have all its parameters yet."""
        count, row_A = self._running.get(trial.number, (-1, None))
        if row_A is None or count != len(trial.params):
            params = {**self._proposed.get(trial.number, {}), **trial.params}
            row_A = encoding.row(self._effective(params))
            self._running[trial.number] = len(trial.params), row_A
        return row_A

    def _begin_block(self, study: Study, encoding: Encoding, count: int) -> None:
        """Discard the batch unless it is that of the block in progress; make the batch of a late block.

        It is made from the trials before the block alone: a study resumed within the block makes the same one."""
        block = count - count % LATE_BLOCK if count >= LATE_FROM else NO_BLOCK
        if block == self._block != NO_BLOCK:
            return
        self._block = block
        self._batch.clear()
        if block == NO_BLOCK:
            return
        observed, rng = self._observed(study, encoding, block), np.random.default_rng([self.seed, block])
        conditions, seen = self._finished.conditions(len(encoding.axes), block), self._finished.seen_among(block)
        proposal = Proposal(encoding, conditions, rng, seen, _signs(study), self._known, observed.costs)
        self._batch.extend(self._rows(observed, proposal, np.empty((0, len(encoding.axes))), LATE_BLOCK))

    def reference_point(self, study: Study) -> list[float] | None:
        """The far reference point (M,) in the units of the study; None before the end of the random start."""
        with self._lock:
            self._update(study)
            count, encoding = len(self._finished.trials), self._encoding
            observed = None if encoding is None else self._observed(study, encoding, count)
            if observed is None or int(observed.complete_N.sum()) < self.start:
                return None
            far_M = self._reference(observed, _signs(study)).far_M
        far_M = np.array([math.exp(x) if index in observed.costs else x for index, x in enumerate(far_M)])
        return list((far_M * _signs(study)).tolist())

    def _learn(self, trial: FrozenTrial) -> None:
        """Encode a finished trial; encode all of them again if it changes the axes."""
        if not trial.distributions:
            return
        known = self._space if self._finished.rows else {}  # running trials may have few of their axes
        space, effective = {**known, **trial.distributions}, self._effective(trial.params)
        conditional = self._conditional | {name for name in space if name not in effective}
        if self._finished.rows:
            conditional |= space.keys() - known.keys()  # the trials before lack these
        if space != known or conditional != self._conditional:
            self._space, self._conditional, self._cache = space, frozenset(conditional), {}
            self._encoding = encoding = Encoding(space, conditional)
            self._finished.encode(lambda one: encoding.row(self._effective(one.params)))
            self._batch.clear()  # of the old encoding
            self._running.clear()
            self._block = NO_BLOCK
        assert self._encoding is not None
        self._finished.add(trial, self._encoding.row(effective))

    def _effective(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parameters without those that are known to have no effect."""
        known = None if self._known is None else self._known(params).params
        return params if known is None else known

    def _observed(self, study: Study, encoding: Encoding, count: int) -> Observations:
        """The observations of a subset of the first `count` finished trials, which a proposal is made from."""
        signs, rows = _signs(study), self._finished.rows

        def observed(trials: Sequence[FrozenTrial]) -> Observations:
            return Observations.of(encoding, trials, rows, signs).with_limits().without_infinities()

        def best(trials: list[FrozenTrial], count: int) -> list[FrozenTrial]:
            trials = [one for one in trials if one.state in OBSERVED_STATES]
            return [trials[index] for index in np.sort(observed(trials).best(count)).tolist()]

        if count // CHUNK != self._chunk_count:  # else weights are fitted on other trials than in a resumed study
            self._chunk_count, self._cache = count // CHUNK, {}
        subset = self._finished.subset(self.start, best, count)
        known = self._known(subset[0].params).values if self._known and subset else ()
        return observed(subset).with_log_costs(known, self.start)

    def _reference(self, observed: Observations, signs: Array) -> Reference:
        """The reference point by the trials of the random start."""
        return reference_of(observed.first(self.start), self.reference, signs)

    def _rows(
        self, observed: Observations, proposal: Proposal, pending_PA: Array, wanted: int
    ) -> Sequence[Array] | Array:
        """New rows, one or more: one of the random start, or up to `wanted` from one fit of the surrogates."""
        complete = int(observed.complete_N.sum())
        is_start_proposed = 2 * complete >= self.start <= complete + len(pending_PA)
        if complete < self.start and not is_start_proposed:
            if len(observed.rows_NA) < 2 * self.start or self._known:
                return [proposal.random(observed)]
            return [proposal.towards_limits(observed)]  # nearly nothing is feasible
        reference = self._reference(observed, proposal.signs)
        if observed.costs and proposal.rng.random() < FAR_POINT_SHARE:
            reference = reference._replace(point_M=reference.far_M)
        acquisition = Acquisition(proposal.encoding, observed, pending_PA, reference, self._cache)
        best_PA = proposal.best(observed, acquisition, wanted)
        return best_PA if len(best_PA) else [proposal.fallback(observed)]


def _signs(study: Study) -> Array:
    """The signs (M,) of objectives: -1 for each that is maximised, else 1."""
    return np.array([-1.0 if one == StudyDirection.MAXIMIZE else 1.0 for one in study.directions])


def _cached(known: KnownFunction) -> KnownFunction:
    """The function with a cache of its results, since it is called with the same parameters many times."""
    cached = lru_cache(maxsize=8192)(lambda items: known(dict(items)))
    return lambda params: cached(tuple(params.items()))
