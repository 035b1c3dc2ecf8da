"""The trials of a study as arrays; all objectives are minimised."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from optuna.trial import FrozenTrial, TrialState

from ffnet_search.pareto.front import dominator_counts
from ffnet_search.search.samplers.encoding import Array, Encoding
from ffnet_search.search.samplers.improvement import non_dominated

FEW = 5  # points that a reference is taken from, at least
BEYOND = 1.0  # times the way from the median to the best tenth, on the other side of the median
CUT = 0.5  # beyond the reference point, times the way from the best to there
LEAST = 1e-12  # of a cost whose logarithm is taken
LEARNT_FROM = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Observations:
    """Trials as rows (N, A), objectives (N, M) and constraints (N, J), feasible where <= 0; NaN if none is known.

    `limits_M`: the largest value of an objective that its constraint allows; infinite where it has none. `costs`: the
    objectives whose logarithms are the values."""

    rows_NA: Array
    values_NM: Array
    excess_NJ: Array
    names: tuple[str, ...]  # of the constraints
    limits_M: Array
    costs: frozenset[int] = frozenset()

    @classmethod
    def of(
        cls, encoding: Encoding, trials: Sequence[FrozenTrial], rows: Mapping[int, Array], signs: Array
    ) -> Observations:
        """The observations of finished trials; `signs`: -1 for each objective that is maximised."""
        trials = [one for one in trials if one.state in LEARNT_FROM]
        constraints = [one.constraints for one in trials]
        names = tuple(sorted({name for one in constraints for name in one}))
        nothing = [math.nan] * len(signs)
        values = [one.values if one.state == TrialState.COMPLETE else nothing for one in trials]
        excess = [[one.get(name, math.nan) for name in names] for one in constraints]
        excess_NJ = np.array(excess, dtype=float).reshape(len(trials), len(names))
        return cls(
            np.array([rows[one.number] for one in trials]).reshape(len(trials), len(encoding.axes)),
            np.array(values, dtype=float).reshape(len(trials), len(signs)) * signs,
            _finite(excess_NJ),
            names,
            np.full(len(signs), np.inf),
        )

    @property
    def complete_N(self) -> NDArray[np.bool_]:
        """True if all objectives are known."""
        return np.asarray(np.isfinite(self.values_NM).all(axis=1))

    @property
    def violation_N(self) -> Array:
        """The excess over limits: the sum over constraints, and over objectives with a limit."""
        known_NM = self.values_NM[self.complete_N]
        spread_M = known_NM.std(axis=0) + 1e-12 if len(known_NM) else np.ones(known_NM.shape[1])
        over_NM = np.maximum((self.values_NM - self.limits_M) / spread_M, 0)
        over_NX = np.hstack([np.maximum(self.excess_NJ, 0), over_NM])
        return np.asarray(np.nan_to_num(over_NX, nan=0.0, posinf=1e9).sum(axis=1))

    @property
    def feasible_N(self) -> NDArray[np.bool_]:
        """True if all objectives are known and all constraints are kept."""
        feasible_N: NDArray[np.bool_] = np.zeros(len(self.rows_NA), dtype=np.bool_)
        feasible_N[self.complete_N] = self.violation_N[self.complete_N] <= 0
        return feasible_N

    def first(self, count: int) -> Observations:
        """The first trials, up to that with which `count` have all objectives."""
        end = int(np.searchsorted(np.cumsum(self.complete_N), count)) + 1
        return self.at(np.arange(min(end, len(self.rows_NA))))

    def at(self, which: np.ndarray) -> Observations:
        """Some of the trials."""
        rows_NA, values_NM, excess_NJ = (table[which] for table in (self.rows_NA, self.values_NM, self.excess_NJ))
        return replace(self, rows_NA=rows_NA, values_NM=values_NM, excess_NJ=excess_NJ)

    def without_doubles(self) -> Observations:
        """The same without the constraints that compare an objective with a limit, as latency / limit - 1 <= 0 does:
        they become limits, and tell the objective of trials that have no values."""
        values_NM, limits_M, kept = self.values_NM.copy(), self.limits_M.copy(), []
        for column, excess_N in enumerate(self.excess_NJ.T):
            lines = {at: _line(y_N, excess_N) for at, y_N in enumerate(self.values_NM.T)}
            objective, line = next(((at, line) for at, line in lines.items() if line), (0, None))
            if line is None:
                kept.append(column)
                continue
            slope, offset = line
            known_N = values_NM[:, objective]
            values_NM[:, objective] = np.where(np.isnan(known_N), (excess_N - offset) / slope, known_N)
            limits_M[objective] = min(limits_M[objective], -offset / slope)
        names = tuple(self.names[column] for column in kept)
        return replace(self, values_NM=values_NM, limits_M=limits_M, excess_NJ=self.excess_NJ[:, kept], names=names)

    def without_infinities(self) -> Observations:
        """The same with infinite objectives, by which a study says that a trial broke down, as the worst finite one of
        the trials so far (of minus infinity the best): what led there is learnt, and later trials change no earlier."""
        values_NM = self.values_NM.copy()
        for y_N in values_NM.T:
            is_finite_N = np.isfinite(y_N)
            first = y_N[is_finite_N][0] if is_finite_N.any() else 0.0
            for infinity, worse in ((np.inf, np.maximum), (-np.inf, np.minimum)):
                end_N = worse.accumulate(np.where(is_finite_N, y_N, -infinity))
                y_N[:] = np.where(y_N == infinity, np.where(np.isinf(end_N), first, end_N), y_N)
        return replace(self, values_NM=values_NM)

    def with_costs(self, known: Collection[int], start: int) -> Observations:
        """The same with logarithms of costs: of the `known` objectives without a limit that are positive in the first
        trials. A front is wanted over the whole range of a cost, each octave of it alike."""
        first_NM = self.first(start).values_NM
        costs = [at for at in known if math.isinf(self.limits_M[at]) and not (first_NM[:, at] <= 0).any()]
        values_NM = self.values_NM.copy()
        values_NM[:, costs] = logarithms(values_NM[:, costs])
        return replace(self, values_NM=values_NM, costs=frozenset(costs))

    def best(self, count: int) -> np.ndarray:
        """The indices of the trials with all objectives that the fewest dominate, feasible ones first."""
        which = np.flatnonzero(self.complete_N)
        over_N = self.violation_N[which]
        ranks_N = len(which) * (1.0 + over_N)
        ranks_N[over_N <= 0] = dominator_counts(self.values_NM[which[over_N <= 0]])
        return np.asarray(which[np.argsort(ranks_N, kind="stable")[:count]])


class Reference(NamedTuple):
    """Facts about the objectives, from the random start and fixed from then on: the reference point (M,), the values
    (M,) that worse ones are clipped to, and whether square roots are learnt (M,). `far_M`: the reference point with
    costs as high as the best network's."""

    point_M: Array
    far_M: Array
    cut_M: Array
    is_root_M: np.ndarray


def reference_of(start: Observations, given: Sequence[float | None] | None, signs: Array) -> Reference:
    """The reference by the trials of the random start, unless a value is `given`. Raises ValueError if there is not one
    of each objective.

    The point is as far beyond the median of the feasible trials as the best tenth is before it, and no worse than the
    worst; where few are feasible, of those that exceed limits least. An objective with a limit has that, and is not
    cut: trials are lost beyond it. Square roots of it are learnt, whose errors are alike for small and great values.
    Random trials are seldom as dear as the best network: the far point holds the dearest one of their front."""
    start = start.at(np.flatnonzero(start.complete_N))
    count = max(FEW, int(start.feasible_N.sum()))
    values_NM = start.values_NM[np.argsort(start.violation_N, kind="stable")[:count]]
    middle_M, best_M = np.median(values_NM, axis=0), np.quantile(values_NM, 0.1, axis=0)
    point_M = np.minimum(middle_M + BEYOND * (middle_M - best_M), start.values_NM.max(axis=0))
    is_limited_M = np.isfinite(start.limits_M)
    point_M = np.where(is_limited_M, start.limits_M, point_M)
    far_M, front_KM = point_M.copy(), start.values_NM[start.feasible_N]
    for at in start.costs if len(front_KM) else ():
        far_M[at] = max(far_M[at], front_KM[non_dominated(front_KM), at].max())
    if given is not None:
        if len(given) != len(signs):
            raise ValueError(
                f"reference must have a value (or None) for each of {len(signs)} objectives, but is {given}"
            )
        given_M = np.array([np.nan if one is None else one for one in given], dtype=float) * signs
        for at in start.costs:
            given_M[at] = logarithms(given_M[at])
        point_M, far_M = (np.where(np.isnan(given_M), one_M, given_M) for one_M in (point_M, far_M))
    best_M = start.values_NM.min(axis=0)
    cut_M = np.where(is_limited_M, np.inf, point_M + CUT * np.maximum(point_M - best_M, 0))
    return Reference(point_M, far_M, cut_M, is_limited_M & (best_M > 0))


def _finite(excess_NJ: Array) -> Array:
    """Infinite excess as the largest finite one of its constraint on that side, or 1: only that it is infeasible."""
    for excess_N in excess_NJ.T:
        finite_N = excess_N[np.isfinite(excess_N)]
        excess_N[excess_N == np.inf] = max([1.0, *finite_N])
        excess_N[excess_N == -np.inf] = min([-1.0, *finite_N])
    return excess_NJ


def logarithms(values: ArrayLike) -> Array:
    """The logarithms of costs, which may be NaN."""
    return np.asarray(np.log(np.maximum(values, LEAST)), dtype=np.float64)


def _line(y_N: Array, excess_N: Array) -> tuple[float, float] | None:
    """Slope and offset, where a constraint rises with an objective on a straight line."""
    both_N = np.isfinite(y_N) & np.isfinite(excess_N)
    y_N, excess_N = y_N[both_N], excess_N[both_N]
    if len(y_N) < FEW or np.ptp(y_N) == 0:
        return None
    first = np.append(np.arange(FEW), np.argmax(y_N != y_N[0]))  # those that come later change nothing, not by a bit
    least, most = first[np.argmin(y_N[first])], first[np.argmax(y_N[first])]
    slope = float((excess_N[most] - excess_N[least]) / (y_N[most] - y_N[least]))
    offset = float(excess_N[least] - slope * y_N[least])
    if slope <= 0 or np.abs(slope * y_N + offset - excess_N).max() > 1e-6 * np.ptp(excess_N):
        return None
    return slope, offset
