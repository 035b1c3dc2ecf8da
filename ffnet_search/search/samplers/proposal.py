"""One proposal: candidates are bred from the best trials and screened; exactly known metrics decide among the best."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ffnet_search.search.samplers.acquisition import Acquisition, Exact
from ffnet_search.search.samplers.candidates import bred
from ffnet_search.search.samplers.encoding import Array, Conditions, Encoding, identities
from ffnet_search.search.samplers.observations import Observations, logarithms

CANDIDATES, CLIMBERS = 640, 240  # that are screened: bred from the best trials, and from the best of these
KNOWN = 2  # times as many, where metrics are known
PARENTS, BEST = 40, 20
EXACT = 128  # of those screened, the best whose known metrics are computed
DRAWN = 64  # at random
SMALL = 2048  # configurations of a space that is screened whole


@dataclass(frozen=True)
class Known:
    """Facts about a configuration before its evaluation: objectives by their index, constraints by name (feasible
    where <= 0), and its parameters without those that have no effect; None for all."""

    values: Mapping[int, float] = field(default_factory=dict)
    excess: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, Any] | None = None


KnownFunction = Callable[[Mapping[str, Any]], Known]


@dataclass(frozen=True)
class Proposal:
    """Chooses new rows. `seen`: the identities of the rows of all trials. `signs`: -1 for each objective that is
    maximised. `costs`: the objectives whose logarithms are compared."""

    encoding: Encoding
    conditions: Conditions
    rng: np.random.Generator
    seen: Collection[bytes]
    signs: Array
    known: KnownFunction | None = None
    costs: Collection[int] = ()

    def random(self, observed: Observations) -> Array:
        """A row of the random start: where costs are known a feasible one, and far from the others by the first."""
        rows_SA = self._new(self.encoding.draw(self.rng, DRAWN))
        if not len(rows_SA):
            return self.another(observed)
        if self.known is None:
            return np.asarray(rows_SA[0])
        known = [self._known(row_A) for row_A in rows_SA]
        over_S = np.array([sum(max(0.0, x) for x in one.excess.values()) for one in known], dtype=np.float64)
        over_S += [0.0 if self._is_new(one) else math.inf for one in known]
        feasible = np.flatnonzero(over_S <= 0)
        if not len(feasible):
            return np.asarray(rows_SA[np.argmin(over_S)])
        objective = min(known[feasible[0]].values, default=None)
        told_N = observed.values_NM[:, objective or 0]
        told_N = told_N[np.isfinite(told_N)]
        if objective is None or not len(told_N):
            return np.asarray(rows_SA[feasible[0]])
        feasible = np.array([at for at in feasible if objective in known[at].values], dtype=int)
        cost_F = np.array([self._minimised(known[at], objective) for at in feasible])
        order = np.sort(cost_F)
        places_F, places_N = (np.searchsorted(order, x) for x in (cost_F, told_N))
        return np.asarray(rows_SA[feasible[np.abs(places_F[:, None] - places_N).min(axis=1).argmax()]])

    def towards_limits(self, observed: Observations) -> Array:
        """A new row bred from the trials that exceed the limits least."""
        told = np.flatnonzero(np.isfinite(observed.excess_NJ).any(axis=1) | observed.complete_N)
        nearest = told[np.argsort(observed.violation_N[told], kind="stable")[: BEST // 2]]
        if not len(nearest):
            return self.random(observed)
        rows_SA = self._new(bred(self.encoding, self._filled(observed.rows_NA[nearest]), self.rng, DRAWN))
        return np.asarray(rows_SA[0]) if len(rows_SA) else self.another(observed)

    def best(self, observed: Observations, acquisition: Acquisition, count: int) -> Array:
        """The most promising rows (count, A), or fewer."""
        rows_SA = self._screened(observed, acquisition)
        if self.known is None and count == 1:
            return rows_SA[:1]
        for start in range(0, len(rows_SA), EXACT):
            some_SA, exact = rows_SA[start : start + EXACT], None
            if self.known is not None:
                known = [self._known(row_A) for row_A in some_SA]
                new = [at for at, one in enumerate(known) if self._is_new(one)]
                some_SA, exact = some_SA[new], self._exact([known[at] for at in new])
            if len(some_SA) and (chosen := acquisition.chosen(some_SA, count, exact)):
                return np.asarray(some_SA[chosen])
        return rows_SA[:0]

    def another(self, observed: Observations, near: Array | None = None) -> Array:
        """A new row near one or near any trial; where there is none a pending one, which may never end, or any."""
        starts_PA = observed.rows_NA if near is None else near[None]
        order_P = self.rng.permutation(len(starts_PA)) if len(starts_PA) else np.arange(0)
        for first in range(0, len(starts_PA), DRAWN):
            rows_SA = self._new(self._neighbours(starts_PA[order_P[first : first + DRAWN]]))
            if len(rows_SA):
                return np.asarray(rows_SA[self.rng.integers(len(rows_SA))])
        rows_SA = self.conditions.keep(self.encoding.draw(self.rng, SMALL))
        new_SA = self._new(rows_SA)
        if not len(new_SA):
            told = set(identities(observed.rows_NA))
            new_SA = rows_SA[[identity not in told for identity in identities(rows_SA)]]
        return np.asarray(new_SA[0] if len(new_SA) else rows_SA[0])

    def _screened(self, observed: Observations, acquisition: Acquisition) -> Array:
        """New candidates, the most promising first."""
        encoding, rng = self.encoding, self.rng
        sizes = [axis.size for axis in encoding.axes]
        if 0 < math.prod(sizes) <= SMALL:
            everything = itertools.product(*(range(size) for size in sizes))
            rows_SA = self._new(np.array(list(everything), dtype=np.float64))
            return rows_SA[np.argsort(-acquisition.gains(rows_SA), kind="stable")] if len(rows_SA) else rows_SA
        parents_PA, times = self._filled(observed.rows_NA[observed.best(PARENTS)]), KNOWN if self.known else 1
        drawn_SA = encoding.draw(rng, times * CANDIDATES // 8)
        rows_SA = self._new(np.vstack([bred(encoding, parents_PA, rng, 7 * len(drawn_SA)), drawn_SA]))
        if not len(rows_SA):  # the space is nearly used up
            return rows_SA
        gain_S = acquisition.gains(rows_SA)
        best_PA = self._filled(rows_SA[np.argsort(-gain_S, kind="stable")[:BEST]])
        more_SA = self._new(bred(encoding, best_PA, rng, times * CLIMBERS))
        both_SA = np.vstack([rows_SA, more_SA])
        gain_S = np.append(gain_S, acquisition.gains(more_SA))
        order = np.argsort(-gain_S, kind="stable")
        identity = identities(both_SA)
        return np.asarray(both_SA[list({identity[at]: at for at in reversed(order.tolist())}.values())[::-1]])

    def _new(self, rows_SA: Array) -> Array:
        """Those that are no repeats, once each, without axes that have no effect."""
        rows_SA = self.conditions.keep(self.encoding.snapped(rows_SA))
        first: dict[bytes, int] = {}
        for at, identity in enumerate(identities(rows_SA)):
            if identity not in self.seen:
                first.setdefault(identity, at)
        return rows_SA[list(first.values())]

    def _filled(self, rows_PA: Array) -> Array:
        """Rows with a random number on each axis that they lack: a change of another may give it an effect."""
        return np.where(np.isnan(rows_PA), self.encoding.draw(self.rng, len(rows_PA)), rows_PA)

    def _neighbours(self, rows_PA: Array) -> Array:
        """All rows that differ from one of these on one axis; of a range, some of them."""
        filled_PA, found = self._filled(rows_PA), []
        for at, axis in enumerate(self.encoding.axes):
            numbers = range(axis.size) if axis.size else self.rng.random(4)
            for number in numbers:
                moved_PA = filled_PA.copy()
                moved_PA[:, at] = number
                found.append(moved_PA)
        return np.vstack(found)

    def _known(self, row_A: Array) -> Known:
        assert self.known is not None
        return self.known(self.encoding.params(row_A))

    def _is_new(self, known: Known) -> bool:
        """False if what has no effect hides a repeat."""
        return known.params is None or identities(self.encoding.row(known.params)[None])[0] not in self.seen

    def _minimised(self, known: Known, objective: int) -> float:
        """The known value of an objective, as it is among the observations."""
        value = float(known.values[objective] * self.signs[objective])
        return float(logarithms(value)) if objective in self.costs else value

    def _exact(self, known: Sequence[Known]) -> Exact:
        values_SM = np.full((len(known), len(self.signs)), np.nan)
        for at, one in enumerate(known):
            for objective in one.values:
                values_SM[at, objective] = self._minimised(one, objective)
        names = sorted({name for one in known for name in one.excess})
        excess = [[one.excess.get(name, -math.inf) for name in names] for one in known]
        return values_SM, np.array(excess, dtype=float).reshape(len(known), len(names))
