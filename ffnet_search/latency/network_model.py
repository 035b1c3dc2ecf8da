"""What parts cost inside a network, by whole networks. Alone, a part finds its input and its weights in the cache.

    network_ms = intercept + sum over parts (slope of its kind * part alone) + spill * max(0, weights_m - resident)

Weights stay in the cache up to some number of millions, and beyond that each run fetches the rest again. A slope is one
number for all plus deviations: of the mixer, of the mixer at a resolution, and of the octave of a part's weights and
of its maps (what fits into which cache alone may not in a network). They are held to zero by normal priors, a ridge
regression: forty networks cannot tell forty slopes, but they do tell which of them are off.

Errors with 40 networks to fit on, means over ten random splits of 120 (mean, maximum, share within 10 %), on two days'
noise of the CIFAR space: one slope for all 3.3, 13.4, 96 % and 3.7, 18.7, 95 %; with mixers and resolutions 3.3, 11.9,
97 % and 3.4, 15.1, 96 %; with all of them 2.7, 9.2, 99.8 % and 2.7, 11.3, 98.8 %. Without the spill it was 9 to 14 %.
Tried and worse: slopes by kernel or by width, terms in weights (7 %) or MACs (6 %), parts timed with evicted caches,
a plane through MACs and weights alone (4.8 to 6.2 %).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from ffnet_search.latency.part_model import Vector
from ffnet_search.space.parts import Part

Kind = tuple[str, str, int, int, int]  # of a part: kind, mixer, resolution, octave of its weights, octave of its maps
Group = tuple[str | int, ...]  # of kinds that deviate together: a name of `PRIORS`, and which

# Standard deviation of the deviation of each group, by its name.
PRIORS = {"mixer": 0.25, "resolution": 0.1, "weights": 0.2, "maps": 0.2}
NOISE = 0.03  # relative standard deviation of a network's time around the formula
RESIDENTS = 50  # numbers of weights that are tried


def kind_of(part: Part) -> Kind:
    return part.kind, part.mixer, part.resolution, round(math.log2(part.params + 1)), round(math.log2(part.memory))


def groups_of(kind: Kind) -> tuple[Group, ...]:
    """Those that a kind belongs to."""
    what, mixer, resolution, weights, maps = kind
    return ("mixer", what, mixer), ("resolution", what, mixer, resolution), ("weights", weights), ("maps", maps)


def by_kind(parts: Iterable[Part], alone_ms: Mapping[Part, float]) -> Mapping[Kind, float]:
    """Milliseconds alone of a network's parts, added up."""
    sums: Counter[Kind] = Counter()
    for part in parts:
        sums[kind_of(part)] += alone_ms[part]  # type: ignore[assignment]  # a Counter counts in floats too
    return sums


@dataclass(frozen=True)
class Calibration:
    """The formula above. The intercept and the spill are >= 0, and so is what slope and deviations add up to."""

    intercept_ms: float
    slope: float
    deviations: Mapping[Group, float] = field(default_factory=dict)
    spill_ms_per_m: float = 0.0
    resident_m: float = 0.0

    def __call__(self, alone_ms: Mapping[Kind, float], params_m: float) -> float:
        """Milliseconds of a network, whose parts alone add up to `alone_ms` by kind."""
        parts = sum(self.slope_of(kind) * ms for kind, ms in alone_ms.items())
        return self.intercept_ms + parts + self.spill_ms_per_m * max(0.0, params_m - self.resident_m)

    def slope_of(self, kind: Kind) -> float:
        return max(0.0, self.slope + sum(self.deviations.get(group, 0.0) for group in groups_of(kind)))

    @classmethod
    def fit(
        cls, alone_ms: Sequence[Mapping[Kind, float]], params_m: Sequence[float], measured_ms: Sequence[float]
    ) -> Calibration:
        """From a value of each per network. The intercept and the spill are left out where they are negative, or do not
        pay for themselves (Bayesian information criterion); `resident_m` is found by trying."""
        kinds = sorted({kind for sums in alone_ms for kind in sums})
        groups = list(dict.fromkeys(group for kind in kinds for group in groups_of(kind)))
        sums = np.array([[found.get(kind, 0.0) for kind in kinds] for found in alone_ms])
        belongs = np.array([[float(group in groups_of(kind)) for group in groups] for kind in kinds])
        parts = np.hstack([sums.sum(1, keepdims=True), sums @ belongs])
        stiffness = np.array([0.0, *(1 / PRIORS[str(group[0])] for group in groups)])
        times, weights = np.asarray(measured_ms, float), np.asarray(params_m, float)

        def fitted(extra: Sequence[Vector]) -> tuple[float, Vector]:
            """Misfit in units of the noise, priors included, and coefficients: of the parts, then of `extra`."""
            x = np.column_stack([parts, *extra]) / times[:, None] / NOISE
            rows = np.vstack([x, np.diag([*stiffness, *np.zeros(len(extra))])])
            target = np.array([*np.full(len(times), 1 / NOISE), *np.zeros(rows.shape[1])])
            found = np.linalg.lstsq(rows, target, rcond=None)[0]
            return float(((rows @ found - target) ** 2).sum()), found

        best, least = cls(0.0, 1.0), math.inf
        residents = np.linspace(0, np.sort(weights)[-2], RESIDENTS)  # two networks are beyond the last
        for with_intercept, resident in product((False, True), (None, *residents)):
            extra = [np.ones_like(times)] if with_intercept else []
            extra += [] if resident is None else [np.maximum(0, weights - resident)]
            misfit, found = fitted(extra)
            slope, deviations, added = found[0], found[1 : 1 + len(groups)], found[1 + len(groups) :]
            misfit += (with_intercept + 2 * (resident is not None)) * math.log(len(times))
            if (added >= 0).all() and misfit < least - 1e-9:  # of equals the least, which assumes least
                least = misfit
                best = cls(
                    float(added[0]) if with_intercept else 0.0,
                    float(slope),
                    dict(zip(groups, deviations.tolist(), strict=True)),
                    0.0 if resident is None else float(added[-1]),
                    0.0 if resident is None else float(resident),
                )
        return best
