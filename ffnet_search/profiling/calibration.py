"""What parts cost inside a network, by whole networks. Alone, a part finds its input and its weights in the cache.

    network_ms = intercept + sum over parts (slope of its kind * part alone) + spill * max(0, weights_m - resident)

Weights stay in the cache up to some number of millions, and beyond that each run fetches the rest again. Slopes are one
number for all, a deviation for each mixer, and one for each mixer at each resolution, held to zero by normal priors (a
hierarchical ridge regression): forty networks cannot tell twenty slopes, but they do tell which of them are off.

Errors with 40 networks to fit on, means over ten random splits of 120 (mean, maximum, share within 10 %): one slope for
all 3.3, 13.4, 96.4 % on the CIFAR space and 3.8, 10.8, 98.9 % on digits; these priors 3.2, 12.5, 97.7 % and 1.6, 6.8,
100 %. Without the spill it was 9 to 14 % on the CIFAR space. Tried and worse there: slopes by kernel (3.6 %), terms in
weights (7 %) or MACs (6 %), parts timed with evicted caches, and a plane through MACs and weights alone (4.8 %).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from ffnet_search.parts import Part
from ffnet_search.profiling.predictor import Vector

Kind = tuple[str, str, int]  # of a part: kind, mixer, resolution

MIXER_PRIOR = 0.25  # standard deviation of a slope's deviation, for a mixer (or another kind of part)
RESOLUTION_PRIOR = 0.1  # ... for a mixer at a resolution
NOISE = 0.03  # relative standard deviation of a network's time around the formula
RESIDENTS = 50  # numbers of weights that are tried


def kind_of(part: Part) -> Kind:
    return part.kind, part.mixer, part.resolution


def by_kind(parts: Iterable[Part], alone_ms: Mapping[Part, float]) -> Mapping[Kind, float]:
    """Milliseconds alone of a network's parts, added up."""
    sums: Counter[Kind] = Counter()
    for part in parts:
        sums[kind_of(part)] += alone_ms[part]  # type: ignore[assignment]  # a Counter counts in floats too
    return sums


@dataclass(frozen=True)
class Calibration:
    """The formula above. All coefficients are >= 0; `slope` is that of kinds that are not in `slopes`."""

    intercept_ms: float
    slope: float
    slopes: Mapping[Kind, float] = field(default_factory=dict)
    spill_ms_per_m: float = 0.0
    resident_m: float = 0.0

    def __call__(self, alone_ms: Mapping[Kind, float], params_m: float) -> float:
        """Milliseconds of a network, whose parts alone add up to `alone_ms` by kind."""
        parts = sum(self.slopes.get(kind, self.slope) * ms for kind, ms in alone_ms.items())
        return self.intercept_ms + parts + self.spill_ms_per_m * max(0.0, params_m - self.resident_m)

    def slope_of(self, part: Part) -> float:
        return self.slopes.get(kind_of(part), self.slope)

    @classmethod
    def fit(
        cls, alone_ms: Sequence[Mapping[Kind, float]], params_m: Sequence[float], measured_ms: Sequence[float]
    ) -> Calibration:
        """From a value of each per network. The intercept and the spill are left out where they are negative, or do not
        pay for themselves (Bayesian information criterion); `resident_m` is found by trying."""
        kinds = sorted({kind for sums in alone_ms for kind in sums})
        mixers = sorted({kind[:2] for kind in kinds})
        fine = np.array([[sums.get(kind, 0.0) for kind in kinds] for sums in alone_ms])
        belongs = np.array([[float(kind[:2] == mixer) for mixer in mixers] for kind in kinds])
        parts = np.hstack([fine.sum(1, keepdims=True), fine @ belongs, fine])
        stiffness = np.concatenate(
            [[0.0], np.full(len(mixers), 1 / MIXER_PRIOR), np.full(len(kinds), 1 / RESOLUTION_PRIOR)]
        )
        times, weights = np.asarray(measured_ms, float), np.asarray(params_m, float)

        def fitted(extra: Sequence[Vector]) -> tuple[float, Vector]:
            """Misfit in units of the noise, priors included, and coefficients: of the parts, then of `extra`."""
            x = np.column_stack([parts, *extra]) / times[:, None] / NOISE
            rows = np.vstack([x, np.diag(np.concatenate([stiffness, np.zeros(len(extra))]))])
            target = np.concatenate([np.full(len(times), 1 / NOISE), np.zeros(len(rows) - len(times))])
            found = np.linalg.lstsq(rows, target, rcond=None)[0]
            return float(((rows @ found - target) ** 2).sum()), found

        best, least = cls(0.0, 1.0), float("inf")
        residents = np.linspace(0, np.sort(weights)[-2], RESIDENTS)  # two networks are beyond the last
        for with_intercept, resident in product((False, True), (None, *residents)):
            extra = [np.ones_like(times)] if with_intercept else []
            extra += [] if resident is None else [np.maximum(0, weights - resident)]
            misfit, found = fitted(extra)
            added = found[parts.shape[1] :]
            misfit += (with_intercept + 2 * (resident is not None)) * np.log(len(times))
            if (added >= 0).all() and misfit < least - 1e-9:  # of equals the least, which assumes least
                least = misfit
                by_mixer = belongs @ found[1 : 1 + len(mixers)]
                slopes = np.maximum(0, found[0] + by_mixer + found[1 + len(mixers) : parts.shape[1]])
                best = cls(
                    float(added[0]) if with_intercept else 0.0,
                    max(0.0, float(found[0])),
                    dict(zip(kinds, slopes.tolist(), strict=True)),
                    0.0 if resident is None else float(added[-1]),
                    0.0 if resident is None else float(resident),
                )
        return best
