"""A model of a network's latency by the times of its parts alone, fitted to whole networks.

Alone, a part finds its input and its weights in the cache. In a network,

    (1)  network_ms = intercept + sum over parts (slope of its kind * part alone) + spill * max(0, weights_m - resident)

Weights stay in the cache up to some number of millions; each run fetches the rest again. A slope is one number for all
kinds plus deviations of five groups,

    (2)  slope(kind) = slope + d_mixer + d_resolution + d_width + d_weights + d_maps

of the mixer, of the mixer at a resolution, of its width (runtimes fill channels up to a multiple of 8 or 16, and change
the layout at the ends of what is timed alone), and of the octaves of a part's weights and of its maps (a part that fits
into a cache alone may not fit in a network). Normal priors hold the deviations near zero, a ridge regression: forty
networks cannot determine forty slopes, but they do determine which of them are off.

Errors with 40 networks to fit on, means over ten random splits of 120 (mean, maximum, share within 10 %), on two days'
noise of the CIFAR space: one slope for all 3.3, 13.4, 96 % and 3.7, 18.7, 95 %; with mixers and resolutions 3.3, 11.9,
97 % and 3.4, 15.1, 96 %; with weights and maps 2.7, 9.2, 99.8 % and 2.7, 11.3, 98.8 %. Without the spill it was 9 to 14
%. With widths, over eight splits of 60: super-resolution, of widths 16, 24 and 32, 1.8, 4.0, 100 % for 18.6, 33, 28 %
without; five other spaces 2.6, 7.9, 97.8 % for 2.8, 8.5, 97.1 %. Tried and worse: slopes by kernel, terms in weights (7
%) or MACs (6 %), parts timed with evicted caches, a plane through MACs and weights alone (4.8 to 6.2 %)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from ffnet_search.latency.part_model import Floats
from ffnet_search.space.parts import Part
from ffnet_search.space.sides import Side

Kind = tuple[str, str, Side, int, int, int]  # of a part: kind, mixer, resolution, width, octaves of weights and of maps
Group = tuple[str | Side, ...]  # of kinds that deviate together: a name of `PRIORS`, and which

# Standard deviation of the deviation of each group, by its name.
PRIORS = {"mixer": 0.25, "resolution": 0.1, "width": 0.1, "weights": 0.2, "maps": 0.2}
NOISE = 0.03  # relative standard deviation of a network's time around (1)
RESIDENTS = 50  # numbers of weights that are tried


def kind_of(part: Part) -> Kind:
    """The kind of a part: parts of one kind have one slope."""
    costs = part.costs
    weights, maps = round(math.log2(costs.params + 1)), round(math.log2(costs.memory))
    return part.kind, part.mixer, part.resolution, part.out_width, weights, maps


def groups_of(kind: Kind) -> tuple[Group, ...]:
    """The groups that a kind belongs to, one for each deviation of (2)."""
    what, mixer, resolution, width, weights, maps = kind
    of_mixer = ("mixer", what, mixer), ("resolution", what, mixer, resolution), ("width", what, width)
    return *of_mixer, ("weights", weights), ("maps", maps)


def by_kind(parts: Iterable[Part], alone_ms: Mapping[Part, float]) -> Mapping[Kind, float]:
    """Milliseconds alone of a network's parts, added up by kind."""
    sums: defaultdict[Kind, float] = defaultdict(float)
    for part in parts:
        sums[kind_of(part)] += alone_ms[part]
    return sums


@dataclass(frozen=True)
class Sample:
    """A network to fit on: milliseconds alone by kind, millions of weights, milliseconds of the whole."""

    alone_ms: Mapping[Kind, float]
    params_m: float
    measured_ms: float


@dataclass(frozen=True)
class NetworkModel:
    """Equation (1). The intercept, the spill and every slope (2) are >= 0."""

    intercept_ms: float
    slope: float
    deviations: Mapping[Group, float] = field(default_factory=dict)
    spill_ms_per_m: float = 0.0
    resident_m: float = 0.0

    def __call__(self, alone_ms: Mapping[Kind, float], params_m: float) -> float:
        """Milliseconds of a network whose parts alone add up to `alone_ms` by kind."""
        parts = sum(self.slope_of(kind) * ms for kind, ms in alone_ms.items())
        return self.intercept_ms + parts + self.spill_ms_per_m * max(0.0, params_m - self.resident_m)

    def slope_of(self, kind: Kind) -> float:
        """Equation (2), not below 0."""
        return max(0.0, self.slope + sum(self.deviations.get(group, 0.0) for group in groups_of(kind)))

    @classmethod
    def fit(cls, samples: Sequence[Sample]) -> NetworkModel:
        """Fit (1) by `ridge`, with or without an intercept and a spill.

        Either is left out if it is negative, or does not pay for its parameters by the Bayesian information criterion,

        (3)  BIC = misfit + p log(N), p = 1 for the intercept, 2 for spill and resident

        `resident` is one of `RESIDENTS` values, up to the second largest network."""
        groups, parts = design_matrix(samples)
        precisions = [0.0, *(1 / PRIORS[str(group[0])] for group in groups)]
        times = np.array([sample.measured_ms for sample in samples])
        weights = np.array([sample.params_m for sample in samples])
        residents = np.linspace(0, np.sort(weights)[-2], RESIDENTS)  # two networks are beyond the last
        best, least = cls(0.0, 0.0), math.inf
        for with_intercept, resident in product((False, True), (None, *residents.tolist())):
            extra: dict[str, Floats] = {}
            if with_intercept:
                extra["intercept_ms"] = np.ones_like(times)
            if resident is not None:
                extra["spill_ms_per_m"] = np.maximum(0, weights - resident)
            columns = np.column_stack([parts, *extra.values()])
            misfit, coefficients = ridge(columns, times, np.array([*precisions, *np.zeros(len(extra))]))
            criterion = misfit + (with_intercept + 2 * (resident is not None)) * math.log(len(times))
            slope, deviations, terms = np.split(coefficients, [1, len(precisions)])
            if (terms >= 0).all() and criterion < least - 1e-9:  # of equal models the first, which has the fewest terms
                least = criterion
                of_group = dict(zip(groups, deviations.tolist(), strict=True))
                terms_ms = {"intercept_ms": 0.0} | dict(zip(extra, terms.tolist(), strict=True))
                best = cls(slope=float(slope[0]), deviations=of_group, resident_m=resident or 0.0, **terms_ms)
        return best


def design_matrix(samples: Sequence[Sample]) -> tuple[list[Group], Floats]:
    """The groups of all kinds, and the columns of (1) that slope and deviations are coefficients of.

    (4)  X = [S 1 | S B], where S (samples, kinds) are the sums alone, and B (kinds, groups) is 1 for members of a group
    """
    kinds = sorted({kind for sample in samples for kind in sample.alone_ms})
    groups = list(dict.fromkeys(group for kind in kinds for group in groups_of(kind)))
    sums = np.array([[sample.alone_ms.get(kind, 0.0) for kind in kinds] for sample in samples])
    belongs = np.array([[float(group in groups_of(kind)) for group in groups] for kind in kinds])
    return groups, np.hstack([sums.sum(1, keepdims=True), sums @ belongs])


def ridge(columns: Floats, times: Floats, precisions: Floats) -> tuple[float, Floats]:
    """The least misfit and the coefficients c that have it: least squares of relative errors, with normal priors.

    (5)  misfit(c) = sum_n ((columns_n c / t_n - 1) / NOISE)^2 + sum_j (precision_j c_j)^2"""
    rows = np.vstack([columns / times[:, None] / NOISE, np.diag(precisions)])
    target = np.array([*np.full(len(times), 1 / NOISE), *np.zeros(len(precisions))])
    coefficients = np.linalg.lstsq(rows, target, rcond=None)[0]
    return float(((rows @ coefficients - target) ** 2).sum()), coefficients
