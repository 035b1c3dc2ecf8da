"""One proposal: offspring of the best trials are screened by the acquisition function; known metrics decide among the
best of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ffnet_search.search.samplers.acquisition import Acquisition, Exact
from ffnet_search.search.samplers.axis import Array
from ffnet_search.search.samplers.candidates import offspring
from ffnet_search.search.samplers.conditions import Conditions
from ffnet_search.search.samplers.encoding import Encoding, identities
from ffnet_search.search.samplers.observations import Observations, logarithms

CANDIDATES = 640  # that are screened: offspring of the best trials and, for an eighth, random rows
REFINED = 240  # offspring of the best candidates, which are screened too
KNOWN_FACTOR = 2  # times as many candidates where metrics are known
PARENTS, ELITE = 40, 20  # trials, and candidates, that have offspring
EXACT_BATCH = 128  # candidates whose known metrics are computed together, the most promising ones first
RANDOM_DRAWS = 64  # rows that a random proposal is chosen from
ENUMERATED = 2048  # configurations, up to which a space is screened whole


@dataclass(frozen=True)
class Known:
    """The metrics of a configuration that are known before its evaluation.

    `values`: objectives by their index. `excess`: constraints by name, feasible where <= 0. `params`: its parameters
    without those that have no effect; None if all have one."""

    values: Mapping[int, float] = field(default_factory=dict)
    excess: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, Any] | None = None


KnownFunction = Callable[[Mapping[str, Any]], Known]


@dataclass(frozen=True)
class Proposal:
    """Chooses new configurations, as rows (A,).

    `seen`: the identities of the rows of all trials, pending ones too. `signs` (M,): -1 for each objective that is
    maximised, else 1. `costs`: the indices of the objectives whose logarithms are compared."""

    encoding: Encoding
    conditions: Conditions
    rng: np.random.Generator
    seen: Collection[bytes]
    signs: Array
    known: KnownFunction | None = None
    costs: Collection[int] = ()

    def random(self, observed: Observations) -> Array:
        """A row of the random start. Where metrics are known, a feasible one whose first known objective is as far as
        possible, in rank, from those of the trials before."""
        rows_SA = self._new(self.encoding.draw(self.rng, RANDOM_DRAWS))
        if not len(rows_SA):
            return self.fallback(observed)
        if self.known is None:
            return np.asarray(rows_SA[0])
        known = [self._known(row_A) for row_A in rows_SA]
        violation_S = np.array([sum(max(0.0, x) for x in one.excess.values()) for one in known], dtype=np.float64)
        violation_S += [0.0 if self._is_new(one) else math.inf for one in known]
        feasible = np.flatnonzero(violation_S <= 0)
        if not len(feasible):
            return np.asarray(rows_SA[np.argmin(violation_S)])
        objective = min(known[feasible[0]].values, default=None)
        observed_N = observed.values_NM[:, objective or 0]
        observed_N = observed_N[np.isfinite(observed_N)]
        if objective is None or not len(observed_N):
            return np.asarray(rows_SA[feasible[0]])
        feasible = np.array([index for index in feasible if objective in known[index].values], dtype=int)
        cost_F = np.array([self._minimised(known[index], objective) for index in feasible])
        order = np.sort(cost_F)
        positions_F, positions_N = (np.searchsorted(order, x) for x in (cost_F, observed_N))
        return np.asarray(rows_SA[feasible[np.abs(positions_F[:, None] - positions_N).min(axis=1).argmax()]])

    def towards_limits(self, observed: Observations) -> Array:
        """A new row: offspring of the trials with the least constraint violation."""
        known = np.flatnonzero(np.isfinite(observed.excess_NJ).any(axis=1) | observed.complete_N)
        nearest = known[np.argsort(observed.violation_N[known], kind="stable")[: ELITE // 2]]
        if not len(nearest):
            return self.random(observed)
        rows_SA = self._new(offspring(self.encoding, self._filled(observed.rows_NA[nearest]), self.rng, RANDOM_DRAWS))
        return np.asarray(rows_SA[0]) if len(rows_SA) else self.fallback(observed)

    def best(self, observed: Observations, acquisition: Acquisition, count: int) -> Array:
        """The most promising rows (count, A), or fewer where known metrics exclude the others."""
        rows_SA = self._screened(observed, acquisition)
        if self.known is None and count == 1:
            return rows_SA[:1]
        for start in range(0, len(rows_SA), EXACT_BATCH):
            some_SA, exact = rows_SA[start : start + EXACT_BATCH], None
            if self.known is not None:
                known = [self._known(row_A) for row_A in some_SA]
                new = [index for index, one in enumerate(known) if self._is_new(one)]
                some_SA, exact = some_SA[new], self._exact([known[index] for index in new])
            if len(some_SA) and (chosen := acquisition.batch(some_SA, count, exact)):
                return np.asarray(some_SA[chosen])
        return rows_SA[:0]

    def fallback(self, observed: Observations) -> Array:
        """A new row (A,) near any trial; else any new row, a pending one, which may never end, or any."""
        starts_PA = observed.rows_NA
        order_P = self.rng.permutation(len(starts_PA)) if len(starts_PA) else np.arange(0)
        for first in range(0, len(starts_PA), RANDOM_DRAWS):
            rows_SA = self._new(self._neighbours(starts_PA[order_P[first : first + RANDOM_DRAWS]]))
            if len(rows_SA):
                return np.asarray(rows_SA[self.rng.integers(len(rows_SA))])
        rows_SA = self.conditions.keep(self.encoding.draw(self.rng, ENUMERATED))
        new_SA = self._new(rows_SA)
        if not len(new_SA):
            observed_identities = set(identities(observed.rows_NA))
            new_SA = rows_SA[[identity not in observed_identities for identity in identities(rows_SA)]]
        return np.asarray(new_SA[0] if len(new_SA) else rows_SA[0])

    def _screened(self, observed: Observations, acquisition: Acquisition) -> Array:
        """New candidates (S, A), the most promising first."""
        encoding, rng = self.encoding, self.rng
        sizes = [axis.size for axis in encoding.axes]
        if 0 < math.prod(sizes) <= ENUMERATED:
            all_rows = itertools.product(*(range(size) for size in sizes))
            rows_SA = self._new(np.array(list(all_rows), dtype=np.float64))
            return rows_SA[np.argsort(-acquisition.expected_gains(rows_SA), kind="stable")] if len(rows_SA) else rows_SA
        parents_PA, factor = self._filled(observed.rows_NA[observed.best(PARENTS)]), KNOWN_FACTOR if self.known else 1
        drawn_SA = encoding.draw(rng, factor * CANDIDATES // 8)
        rows_SA = self._new(np.vstack([offspring(encoding, parents_PA, rng, 7 * len(drawn_SA)), drawn_SA]))
        if not len(rows_SA):  # the space is nearly used up
            return rows_SA
        gain_S = acquisition.expected_gains(rows_SA)
        best_PA = self._filled(rows_SA[np.argsort(-gain_S, kind="stable")[:ELITE]])
        refined_SA = self._new(offspring(encoding, best_PA, rng, factor * REFINED))
        both_SA = np.vstack([rows_SA, refined_SA])
        gain_S = np.append(gain_S, acquisition.expected_gains(refined_SA))
        order = np.argsort(-gain_S, kind="stable")
        identity = identities(both_SA)
        return np.asarray(both_SA[list({identity[index]: index for index in reversed(order.tolist())}.values())[::-1]])

    def _new(self, rows_SA: Array) -> Array:
        """The rows that no trial has had, once each, with NaN on axes without effect."""
        rows_SA = self.conditions.keep(self.encoding.snapped(rows_SA))
        first: dict[bytes, int] = {}
        for index, identity in enumerate(identities(rows_SA)):
            if identity not in self.seen:
                first.setdefault(identity, index)
        return rows_SA[list(first.values())]

    def _filled(self, rows_PA: Array) -> Array:
        """The rows with a random number on each axis that they lack: a mutation of another axis may give it an
        effect."""
        return np.where(np.isnan(rows_PA), self.encoding.draw(self.rng, len(rows_PA)), rows_PA)

    def _neighbours(self, rows_PA: Array) -> Array:
        """All rows that differ from one of these on one axis; on a range, four random ones."""
        filled_PA, neighbours = self._filled(rows_PA), []
        for index, axis in enumerate(self.encoding.axes):
            numbers = range(axis.size) if axis.size else self.rng.random(4)
            for number in numbers:
                moved_PA = filled_PA.copy()
                moved_PA[:, index] = number
                neighbours.append(moved_PA)
        return np.vstack(neighbours)

    def _known(self, row_A: Array) -> Known:
        """The known metrics of a row."""
        assert self.known is not None
        return self.known(self.encoding.params(row_A))

    def _is_new(self, known: Known) -> bool:
        """Tell a new configuration from one that differs from a trial on axes without effect alone."""
        return known.params is None or identities(self.encoding.row(known.params)[None])[0] not in self.seen

    def _minimised(self, known: Known, objective: int) -> float:
        """The known value of an objective, signed and scaled as in the observations."""
        value = float(known.values[objective] * self.signs[objective])
        return float(logarithms(value)) if objective in self.costs else value

    def _exact(self, known: Sequence[Known]) -> Exact:
        """The known metrics of candidates as arrays."""
        values_SM = np.full((len(known), len(self.signs)), np.nan)
        for index, one in enumerate(known):
            for objective in one.values:
                values_SM[index, objective] = self._minimised(one, objective)
        names = sorted({name for one in known for name in one.excess})
        excess = [[one.excess.get(name, -math.inf) for name in names] for one in known]
        return values_SM, np.array(excess, dtype=float).reshape(len(known), len(names))
