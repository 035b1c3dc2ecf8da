"""The acquisition function: the expected hypervolume improvement of a candidate, by a surrogate for each metric."""

from __future__ import annotations

from collections.abc import MutableMapping

import numpy as np
from scipy.special import ndtr

from ffnet_search.search.samplers.encoding import Array, Encoding
from ffnet_search.search.samplers.improvement import boxes, expected_improvement
from ffnet_search.search.samplers.observations import Observations, Reference
from ffnet_search.search.samplers.surrogate import Inputs, Surrogate, Weights

FITTED_ON = 300  # the newest of the trials, for the weights of a surrogate
LEARNT_FROM = 400  # trials of a surrogate: half of them the best, half the newest others
Exact = tuple[Array, Array]  # objectives (S, M), NaN where not known; excess of constraints (S, J)
Cache = MutableMapping[str, tuple[int, Weights]]


class Acquisition:
    """Expected improvement beyond `observed` and what is expected of `pending` rows, up to the reference point.

    `cache`: the weights of surrogates by metric and number of trials, which change on a schedule."""

    def __init__(
        self, encoding: Encoding, observed: Observations, pending_PA: Array, reference: Reference, cache: Cache
    ) -> None:
        self.encoding, self.reference = encoding, reference
        inputs = Inputs.of(encoding, observed.rows_NA)
        cut_NM = np.minimum(observed.values_NM, reference.cut_M)
        cut_NM = np.where(reference.is_root_M, np.sqrt(np.maximum(cut_NM, 0)), cut_NM)
        metrics = {f"objective {at}": y_N for at, y_N in enumerate(cut_NM.T)}
        metrics |= {
            f"constraint {name}": excess_N for name, excess_N in zip(observed.names, observed.excess_NJ.T, strict=True)
        }
        kept_N = _kept(observed)
        self.pending = Inputs.of(encoding, pending_PA) if len(pending_PA) else None
        surrogates = [self._surrogate(inputs, y_N, kept_N, name, cache) for name, y_N in metrics.items()]
        objectives = len(reference.point_M)
        self.objectives, self.constraints = surrogates[:objectives], surrogates[objectives:]
        self.front_KM = observed.values_NM[observed.feasible_N]
        if self.pending is not None:
            mean_PM, _ = self._objectives(self.pending)
            self.front_KM = np.vstack([self.front_KM, mean_PM[self._feasible(self.pending) > 0.5]])

    def _surrogate(self, inputs: Inputs, y_N: Array, kept_N: np.ndarray, name: str, cache: Cache) -> Surrogate:
        told = np.flatnonzero(np.isfinite(y_N))
        schedule = due(len(told))
        if cache.get(name, (0,))[0] != schedule:
            first = told[:schedule][-FITTED_ON:]
            cache[name] = schedule, Surrogate(self.encoding, inputs.at(first), y_N[first]).weights
        which = told[kept_N[told]]
        return Surrogate(self.encoding, inputs.at(which), y_N[which], cache[name][1], self.pending)

    def gains(self, rows_SA: Array) -> Array:
        """The expected gain (S,) of candidates."""
        return self._gains(*self._outlook(Inputs.of(self.encoding, rows_SA), None), self.front_KM)

    def chosen(self, rows_SA: Array, count: int, exact: Exact | None = None) -> list[int]:
        """The indices of `count` candidates, each the best once those before it are pending; `exact` replaces what is
        expected. Fewer where the others exceed known limits."""
        inputs = Inputs.of(self.encoding, rows_SA)
        mean_SM, sd_SM, feasible_S = self._outlook(inputs, exact)
        found: list[int] = []
        front_KM = self.front_KM
        for _ in range(min(count, len(rows_SA))):
            gain_S = self._gains(mean_SM, sd_SM, feasible_S, front_KM)
            if gain_S.max() <= 0:  # nothing is expected of any
                gain_S = np.where(gain_S < 0, -1, sd_SM.sum(axis=1))
            gain_S[found] = -1
            best = int(np.argmax(gain_S))
            if gain_S[best] < 0:
                break
            found.append(best)
            if len(found) < count:
                front_KM = np.vstack([front_KM, mean_SM[best]])
                for at, surrogate in enumerate(self.objectives):
                    sd_SM[:, at] *= surrogate.rest(inputs, best)
        return found

    def _outlook(self, inputs: Inputs, exact: Exact | None) -> tuple[Array, Array, Array]:
        """Means and standard deviations of the objectives (S, M), and the probability (S,) that all constraints are
        kept; -1 over a known limit."""
        (mean_SM, sd_SM), feasible_S = self._objectives(inputs), self._feasible(inputs)
        if exact is None:
            return mean_SM, sd_SM, feasible_S
        known_SM, excess_SJ = exact
        mean_SM = np.where(np.isnan(known_SM), mean_SM, known_SM)
        sd_SM = np.where(np.isnan(known_SM), sd_SM, 0.0)
        return mean_SM, sd_SM, np.where((excess_SJ > 0).any(axis=1), -1.0, feasible_S)

    def _gains(self, mean_SM: Array, sd_SM: Array, feasible_S: Array, front_KM: Array) -> Array:
        lower_BM, upper_BM = boxes(front_KM, self.reference.point_M)
        gain_S = expected_improvement(mean_SM, sd_SM, lower_BM, upper_BM)
        return np.where(feasible_S < 0, -1.0, gain_S * feasible_S)

    def _objectives(self, inputs: Inputs) -> tuple[Array, Array]:
        means, sds = zip(*(one.predict(inputs) for one in self.objectives), strict=True)
        mean_SM, sd_SM = np.stack(means, axis=1), np.stack(sds, axis=1)
        square_SM = np.maximum(mean_SM, 0) ** 2 + sd_SM**2, 2 * np.maximum(np.abs(mean_SM), sd_SM) * sd_SM
        return np.where(self.reference.is_root_M, square_SM[0], mean_SM), np.where(
            self.reference.is_root_M, square_SM[1], sd_SM
        )

    def _feasible(self, inputs: Inputs) -> Array:
        """The probability (S,) that the constraints are kept; limits of objectives are the reference's."""
        feasible_S: Array = np.ones(len(inputs.features_NF))
        for surrogate in self.constraints:
            mean_S, sd_S = surrogate.predict(inputs)
            feasible_S *= ndtr(-mean_S / sd_S)
        return feasible_S


def due(trials: int) -> int:
    """The number of trials at which weights were last fitted, where there are `trials`: a quarter more each time."""
    last = min(trials, 4)
    while (following := last + max(2, last // 4)) <= trials:
        last = following
    return last


def _kept(observed: Observations) -> np.ndarray:
    """True for the trials that surrogates learn from (N,)."""
    kept_N = np.ones(len(observed.rows_NA), dtype=bool)
    if len(kept_N) > LEARNT_FROM:
        kept_N[:] = False
        kept_N[observed.best(LEARNT_FROM // 2)] = True
        others = np.flatnonzero(~kept_N)
        kept_N[others[len(others) - (LEARNT_FROM - int(kept_N.sum())) :]] = True
    return kept_N
