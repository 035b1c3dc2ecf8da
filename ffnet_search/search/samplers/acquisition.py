"""The acquisition function: the expected hypervolume improvement of a candidate, by a surrogate for each metric."""

from __future__ import annotations

from collections.abc import MutableMapping

import numpy as np
from scipy.special import ndtr

from ffnet_search.search.samplers.axis import Array
from ffnet_search.search.samplers.encoding import Encoding
from ffnet_search.search.samplers.improvement import boxes, expected_improvement
from ffnet_search.search.samplers.inputs import Inputs
from ffnet_search.search.samplers.observations import Observations, Reference
from ffnet_search.search.samplers.surrogate import Surrogate, Weights

WEIGHT_TRIALS = 300  # the newest trials, on which the weights of a surrogate are fitted
SURROGATE_TRIALS = 400  # trials that a surrogate is given: half of them the best, half the newest others
Exact = tuple[Array, Array]  # objectives (S, M), NaN where not known; excess of constraints (S, J)
Cache = MutableMapping[str, tuple[int, Weights]]


class Acquisition:
    """The expected hypervolume improvement over the front of `observed` and of the predictions for pending rows (P, A).

    `cache`: metric -> the number of trials at which the weights of its surrogate were last fitted, and the weights."""

    def __init__(
        self, encoding: Encoding, observed: Observations, pending_PA: Array, reference: Reference, cache: Cache
    ) -> None:
        self.encoding, self.reference = encoding, reference
        inputs = Inputs.of(encoding, observed.rows_NA)
        clipped_NM = np.minimum(observed.values_NM, reference.clip_M)
        clipped_NM = np.where(reference.is_root_M, np.sqrt(np.maximum(clipped_NM, 0)), clipped_NM)
        metrics = {f"objective {index}": y_N for index, y_N in enumerate(clipped_NM.T)}
        metrics |= {
            f"constraint {name}": excess_N for name, excess_N in zip(observed.names, observed.excess_NJ.T, strict=True)
        }
        learnt_N = _learnt(observed)
        self.pending = Inputs.of(encoding, pending_PA) if len(pending_PA) else None
        surrogates = [self._surrogate(inputs, y_N, learnt_N, name, cache) for name, y_N in metrics.items()]
        objectives = len(reference.point_M)
        self.objectives, self.constraints = surrogates[:objectives], surrogates[objectives:]
        self.front_KM = observed.values_NM[observed.feasible_N]
        if self.pending is not None:
            mean_PM, _ = self._objectives(self.pending)
            self.front_KM = np.vstack([self.front_KM, mean_PM[self._feasible(self.pending) > 0.5]])

    def _surrogate(self, inputs: Inputs, y_N: Array, learnt_N: np.ndarray, name: str, cache: Cache) -> Surrogate:
        known = np.flatnonzero(np.isfinite(y_N))
        fitted_count = last_fit(len(known))
        if cache.get(name, (0,))[0] != fitted_count:
            fitted = known[:fitted_count][-WEIGHT_TRIALS:]
            cache[name] = fitted_count, Surrogate(self.encoding, inputs.take(fitted), y_N[fitted]).weights
        indices = known[learnt_N[known]]
        return Surrogate(self.encoding, inputs.take(indices), y_N[indices], cache[name][1], self.pending)

    def expected_gains(self, rows_SA: Array) -> Array:
        """The expected hypervolume improvement (S,) of candidates (S, A), times the probability of being feasible."""
        return self._gains(*self._predictions(Inputs.of(self.encoding, rows_SA), None), self.front_KM)

    def batch(self, rows_SA: Array, count: int, exact: Exact | None = None) -> list[int]:
        """The indices of `count` candidates, chosen greedily: each is the best once those before it are pending.

        `exact`: known metrics, which replace predictions. Fewer indices where the other candidates exceed known
        limits."""
        inputs = Inputs.of(self.encoding, rows_SA)
        mean_SM, sd_SM, feasible_S = self._predictions(inputs, exact)
        chosen: list[int] = []
        front_KM = self.front_KM
        for _ in range(min(count, len(rows_SA))):
            gain_S = self._gains(mean_SM, sd_SM, feasible_S, front_KM)
            if gain_S.max() <= 0:  # no improvement is expected: explore
                gain_S = np.where(gain_S < 0, -1, sd_SM.sum(axis=1))
            gain_S[chosen] = -1
            best = int(np.argmax(gain_S))
            if gain_S[best] < 0:
                break
            chosen.append(best)
            if len(chosen) < count:
                front_KM = np.vstack([front_KM, mean_SM[best]])
                for index, surrogate in enumerate(self.objectives):
                    sd_SM[:, index] *= surrogate.remaining_sd(inputs, best)
        return chosen

    def _predictions(self, inputs: Inputs, exact: Exact | None) -> tuple[Array, Array, Array]:
        """Predicted means and standard deviations of the objectives (S, M), and the probability (S,) that all
        constraints are kept; -1 beyond a known limit."""
        (mean_SM, sd_SM), feasible_S = self._objectives(inputs), self._feasible(inputs)
        if exact is None:
            return mean_SM, sd_SM, feasible_S
        known_SM, excess_SJ = exact
        mean_SM = np.where(np.isnan(known_SM), mean_SM, known_SM)
        sd_SM = np.where(np.isnan(known_SM), sd_SM, 0.0)
        return mean_SM, sd_SM, np.where((excess_SJ > 0).any(axis=1), -1.0, feasible_S)

    def _gains(self, mean_SM: Array, sd_SM: Array, feasible_S: Array, front_KM: Array) -> Array:
        """The expected improvement (S,) over a front, times `feasible_S`; -1 beyond a known limit."""
        lower_BM, upper_BM = boxes(front_KM, self.reference.point_M)
        gain_S = expected_improvement(mean_SM, sd_SM, lower_BM, upper_BM)
        return np.where(feasible_S < 0, -1.0, gain_S * feasible_S)

    def _objectives(self, inputs: Inputs) -> tuple[Array, Array]:
        """Predicted means and standard deviations (S, M) of the objectives; squared where square roots are learnt."""
        means, sds = zip(*(one.predict(inputs) for one in self.objectives), strict=True)
        mean_SM, sd_SM = np.stack(means, axis=1), np.stack(sds, axis=1)
        square_SM = np.maximum(mean_SM, 0) ** 2 + sd_SM**2, 2 * np.maximum(np.abs(mean_SM), sd_SM) * sd_SM
        return np.where(self.reference.is_root_M, square_SM[0], mean_SM), np.where(
            self.reference.is_root_M, square_SM[1], sd_SM
        )

    def _feasible(self, inputs: Inputs) -> Array:
        """The probability (S,) that all constraints are kept. Limits of objectives are part of the reference point."""
        feasible_S: Array = np.ones(len(inputs.features_NF))
        for surrogate in self.constraints:
            mean_S, sd_S = surrogate.predict(inputs)
            feasible_S *= ndtr(-mean_S / sd_S)
        return feasible_S


def last_fit(trials: int) -> int:
    """The number of trials at which weights were last fitted, of `trials`: each fit has a quarter more than the
    last."""
    last = min(trials, 4)
    while (following := last + max(2, last // 4)) <= trials:
        last = following
    return last


def _learnt(observed: Observations) -> np.ndarray:
    """The mask (N,) of the trials that surrogates learn from."""
    learnt_N = np.ones(len(observed.rows_NA), dtype=bool)
    if len(learnt_N) > SURROGATE_TRIALS:
        learnt_N[:] = False
        learnt_N[observed.best(SURROGATE_TRIALS // 2)] = True
        others = np.flatnonzero(~learnt_N)
        learnt_N[others[len(others) - (SURROGATE_TRIALS - int(learnt_N.sum())) :]] = True
    return learnt_N
