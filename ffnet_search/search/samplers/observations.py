"""The trials of a study as arrays, and the reference point that they give. All objectives are minimised."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from optuna.trial import FrozenTrial, TrialState

from ffnet_search.pareto.front import dominator_counts
from ffnet_search.search.samplers.axis import Array
from ffnet_search.search.samplers.encoding import Encoding
from ffnet_search.search.samplers.improvement import non_dominated

LEAST_POINTS = 5  # that the reference point, or a line between a constraint and an objective, is computed from
REFERENCE_FACTOR = 1.0  # the reference point beyond the median, by the distance of the best tenth from it
CLIP_FACTOR = 0.5  # values are clipped so far beyond the reference point, by its distance from the best
LEAST_COST = 1e-12  # below it logarithms are clipped
OBSERVED_STATES = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Observations:
    """Trials as rows (N, A), objectives (N, M) and constraints (N, J), feasible where <= 0; NaN where not known.

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
        trials = [one for one in trials if one.state in OBSERVED_STATES]
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
        """The mask (N,) of the trials whose objectives are all known."""
        return np.asarray(np.isfinite(self.values_NM).all(axis=1))

    @property
    def violation_N(self) -> Array:
        """The constraint violation (N,): the sum of what exceeds constraints, and limits of objectives in units of
        their standard deviation."""
        known_NM = self.values_NM[self.complete_N]
        spread_M = known_NM.std(axis=0) + 1e-12 if len(known_NM) else np.ones(known_NM.shape[1])
        over_NM = np.maximum((self.values_NM - self.limits_M) / spread_M, 0)
        over_NX = np.hstack([np.maximum(self.excess_NJ, 0), over_NM])
        return np.asarray(np.nan_to_num(over_NX, nan=0.0, posinf=1e9).sum(axis=1))

    @property
    def feasible_N(self) -> NDArray[np.bool_]:
        """The mask (N,) of the trials whose objectives are all known and whose constraints are all kept."""
        feasible_N: NDArray[np.bool_] = np.zeros(len(self.rows_NA), dtype=np.bool_)
        feasible_N[self.complete_N] = self.violation_N[self.complete_N] <= 0
        return feasible_N

    def first(self, count: int) -> Observations:
        """The first trials, up to the one with which `count` of them have all objectives."""
        end = int(np.searchsorted(np.cumsum(self.complete_N), count)) + 1
        return self.take(np.arange(min(end, len(self.rows_NA))))

    def take(self, indices: np.ndarray) -> Observations:
        """The trials at these indices, or of this mask."""
        rows_NA, values_NM, excess_NJ = (table[indices] for table in (self.rows_NA, self.values_NM, self.excess_NJ))
        return replace(self, rows_NA=rows_NA, values_NM=values_NM, excess_NJ=excess_NJ)

    def with_limits(self) -> Observations:
        """The same with limits in place of the constraints that compare an objective with a limit, as latency / limit -
        1 <= 0 does. These constraints also give the objective of trials without values."""
        values_NM, limits_M, kept = self.values_NM.copy(), self.limits_M.copy(), []
        for column, excess_N in enumerate(self.excess_NJ.T):
            lines = {index: _line(y_N, excess_N) for index, y_N in enumerate(self.values_NM.T)}
            objective, line = next(((index, line) for index, line in lines.items() if line), (0, None))
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

    def with_log_costs(self, known: Collection[int], start: int) -> Observations:
        """The same with logarithms of costs: of the objectives at the indices `known` that have no limit and are
        positive in the random start. The front is to cover the whole range of a cost, each octave alike."""
        first_NM = self.first(start).values_NM
        costs = [index for index in known if math.isinf(self.limits_M[index]) and not (first_NM[:, index] <= 0).any()]
        values_NM = self.values_NM.copy()
        values_NM[:, costs] = logarithms(values_NM[:, costs])
        return replace(self, values_NM=values_NM, costs=frozenset(costs))

    def best(self, count: int) -> np.ndarray:
        """The indices of `count` trials with all objectives: feasible ones by how many dominate them, then the others
        by their violation."""
        indices = np.flatnonzero(self.complete_N)
        over_N = self.violation_N[indices]
        ranks_N = len(indices) * (1.0 + over_N)
        ranks_N[over_N <= 0] = dominator_counts(self.values_NM[indices[over_N <= 0]])
        return np.asarray(indices[np.argsort(ranks_N, kind="stable")[:count]])


class Reference(NamedTuple):
    """The reference point (M,) of the hypervolume, fixed from the end of the random start on.

    `far_M`: the same with costs as high as those of the best network. `clip_M`: the values that worse ones are clipped
    to, before surrogates learn them. `is_root_M`: True where surrogates learn square roots."""

    point_M: Array
    far_M: Array
    clip_M: Array
    is_root_M: np.ndarray


def reference_of(start: Observations, given: Sequence[float | None] | None, signs: Array) -> Reference:
    """Compute the reference from the trials of the random start, but for values that are `given`.

    The point is as far beyond the median of the feasible trials as the best tenth is before it, and no worse than the
    worst; where few trials are feasible, those with the least violation count. Where an objective has a limit, that is
    the point, values are not clipped, since trials are lost beyond it, and square roots of positive values are learnt,
    whose errors are alike for small and great values. Random trials are seldom as costly as the best network: the far
    point has the highest cost of their front. Raises ValueError if `given` has not one value (or None) for each
    objective."""
    start = start.take(np.flatnonzero(start.complete_N))
    count = max(LEAST_POINTS, int(start.feasible_N.sum()))
    values_NM = start.values_NM[np.argsort(start.violation_N, kind="stable")[:count]]
    middle_M, best_M = np.median(values_NM, axis=0), np.quantile(values_NM, 0.1, axis=0)
    point_M = np.minimum(middle_M + REFERENCE_FACTOR * (middle_M - best_M), start.values_NM.max(axis=0))
    is_limited_M = np.isfinite(start.limits_M)
    point_M = np.where(is_limited_M, start.limits_M, point_M)
    far_M, front_KM = point_M.copy(), start.values_NM[start.feasible_N]
    for index in start.costs if len(front_KM) else ():
        far_M[index] = max(far_M[index], front_KM[non_dominated(front_KM), index].max())
    if given is not None:
        if len(given) != len(signs):
            raise ValueError(
                f"reference must have a value (or None) for each of {len(signs)} objectives, but is {given}"
            )
        given_M = np.array([np.nan if one is None else one for one in given], dtype=float) * signs
        for index in start.costs:
            given_M[index] = logarithms(given_M[index])
        point_M, far_M = (np.where(np.isnan(given_M), one_M, given_M) for one_M in (point_M, far_M))
    best_M = start.values_NM.min(axis=0)
    clip_M = np.where(is_limited_M, np.inf, point_M + CLIP_FACTOR * np.maximum(point_M - best_M, 0))
    return Reference(point_M, far_M, clip_M, is_limited_M & (best_M > 0))


def _finite(excess_NJ: Array) -> Array:
    """Replace infinite excess, in place, by the largest finite one of its constraint and sign, or by 1: it says only
    whether the trial is feasible."""
    for excess_N in excess_NJ.T:
        finite_N = excess_N[np.isfinite(excess_N)]
        excess_N[excess_N == np.inf] = max([1.0, *finite_N])
        excess_N[excess_N == -np.inf] = min([-1.0, *finite_N])
    return excess_NJ


def logarithms(values: ArrayLike) -> Array:
    """The logarithms of costs; NaN stays NaN."""
    return np.asarray(np.log(np.maximum(values, LEAST_COST)), dtype=np.float64)


def _line(y_N: Array, excess_N: Array) -> tuple[float, float] | None:
    """Slope and offset of a constraint that is a rising linear function of an objective; None if it is not."""
    both_N = np.isfinite(y_N) & np.isfinite(excess_N)
    y_N, excess_N = y_N[both_N], excess_N[both_N]
    if len(y_N) < LEAST_POINTS or np.ptp(y_N) == 0:
        return None
    first = np.append(np.arange(LEAST_POINTS), np.argmax(y_N != y_N[0]))  # later trials change the line by no bit
    lowest, highest = first[np.argmin(y_N[first])], first[np.argmax(y_N[first])]
    slope = float((excess_N[highest] - excess_N[lowest]) / (y_N[highest] - y_N[lowest]))
    offset = float(excess_N[lowest] - slope * y_N[lowest])
    if slope <= 0 or np.abs(slope * y_N + offset - excess_N).max() > 1e-6 * np.ptp(excess_N):
        return None
    return slope, offset
