"""ParetoSampler: a Pareto front from few evaluations, by surrogates and expected hypervolume improvement.

`optuna.create_study(directions=[...], sampler=ParetoSampler(seed=0))` is enough: axes, conditions, constraints and the
reference point are learnt from the study. docs/samplers.md says what was measured, and where other samplers are better.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ffnet_search.search.samplers.acquisition import Acquisition, Cache
from ffnet_search.search.samplers.encoding import Array, Conditions, Encoding, identities
from ffnet_search.search.samplers.observations import Observations, Reference, reference_of
from ffnet_search.search.samplers.proposal import Known, KnownFunction, Proposal

AHEAD, SHARE = 16, 4  # proposals of one fit: at most so many, and a quarter of those pending
__all__ = ["Known", "ParetoSampler"]


class ParetoSampler(BaseSampler):
    """Proposes by expected hypervolume improvement, after `start` random trials; with workers, once half of these are
    finished and the others are pending.

    `known`: parameters -> metrics that need no evaluation; they replace predictions, and what exceeds a limit is not
    proposed.
    `reference`: the worst value of interest of each objective; None if the random start is to tell. A proposal
    depends on the seed, its number and the trials of the study, so that a resumed study proposes what an uninterrupted
    one would. Nothing is proposed twice while something new is near."""

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
        self._begin("")

    def _begin(self, study_name: str) -> None:
        """Reset the state, for a study of this name."""
        self._study_name = study_name
        self._space: dict[str, BaseDistribution] = {}
        self._conditional: frozenset[str] = frozenset()
        self._encoding: Encoding | None = None
        self._finished: dict[int, FrozenTrial] = {}
        self._rows: dict[int, Array] = {}
        self._cache: Cache = {}
        self._drawn: deque[Array] = deque()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All axes that finished trials had, each as it was last."""
        self._update(study)
        return self._space

    def _update(self, study: Study) -> None:
        """Learn the trials that have finished since."""
        if study.study_name != self._study_name:
            self._begin(study.study_name)
        for one in study.get_trials(deepcopy=False):
            if one.number not in self._finished and one.state.is_finished():
                self._finished[one.number] = one
                self._learn_space(one)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value: of the first trial, and of axes that no trial had before."""
        rng = np.random.default_rng([self.seed, trial.number, zlib.crc32(param_name.encode())])
        sampler = RandomSampler(seed=int(rng.integers(2**31)))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters of a new configuration."""
        if not search_space:
            return {}
        encoding = self._encoding
        assert encoding is not None
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        pending = [one for one in running if one.params and one.number != trial.number]
        pending_PA = np.array([encoding.row(self._effective(one)) for one in pending]).reshape(
            len(pending), len(encoding.axes)
        )
        observed = self._observed(study, encoding)
        rows_NA = np.array([*self._rows.values(), *pending_PA])
        proposal = Proposal(
            encoding,
            Conditions(rows_NA),
            np.random.default_rng([self.seed, trial.number]),
            set(identities(rows_NA)),
            _signs(study),
            self._known,
        )
        with one_thread():
            row_A = self._row(observed, proposal, pending_PA)
        return encoding.params(row_A)

    def reference_point(self, study: Study) -> list[float] | None:
        """The reference point in the study's units; None before the end of the random start."""
        self._update(study)
        observed = None if self._encoding is None else self._observed(study, self._encoding)
        if observed is None or int(observed.complete_N.sum()) < self.start:
            return None
        return list((self._reference(observed, _signs(study)).point_M * _signs(study)).tolist())

    def _learn_space(self, trial: FrozenTrial) -> None:
        """Encode a finished trial. All are encoded again where its axes are others than those before."""
        if not trial.distributions:
            return
        space, effective = {**self._space, **trial.distributions}, self._effective(trial)
        conditional = self._conditional | {name for name in space if name not in effective}
        if self._rows:
            conditional |= space.keys() - self._space.keys()  # those before lack it
        if space != self._space or conditional != self._conditional:
            self._space, self._conditional, self._cache = space, frozenset(conditional), {}
            self._encoding = Encoding(space, conditional)
            self._rows = {number: self._encoding.row(self._effective(self._finished[number])) for number in self._rows}
        assert self._encoding is not None
        self._rows[trial.number] = self._encoding.row(effective)

    def _effective(self, trial: FrozenTrial) -> Mapping[str, Any]:
        """The parameters that have an effect."""
        known = None if self._known is None else self._known(trial.params).params
        return trial.params if known is None else known

    def _observed(self, study: Study, encoding: Encoding) -> Observations:
        trials = [self._finished[number] for number in sorted(self._rows)]
        return Observations.of(encoding, trials, self._rows, _signs(study)).without_doubles()

    def _reference(self, observed: Observations, signs: Array) -> Reference:
        return reference_of(observed.first(self.start), self.reference, signs)

    def _row(self, observed: Observations, proposal: Proposal, pending_PA: Array) -> Array:
        """A new row."""
        complete = int(observed.complete_N.sum())
        is_asked_for = 2 * complete >= self.start <= complete + len(pending_PA)  # all of the start
        if complete < self.start and not is_asked_for:
            if len(observed.rows_NA) < 2 * self.start or self._known:
                return proposal.random(observed)
            return proposal.towards_limits(observed)  # nearly nothing is feasible
        while self._drawn:
            row_A = self._drawn.popleft()
            if identities(row_A[None])[0] not in proposal.seen:
                return row_A
        reference = self._reference(observed, proposal.signs)
        acquisition = Acquisition(proposal.encoding, observed, pending_PA, reference, self._cache)
        wanted = max(1, min(AHEAD, len(pending_PA) // SHARE))
        self._drawn.extend(proposal.best(observed, acquisition, wanted))
        return self._drawn.popleft() if self._drawn else proposal.another(observed)


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
