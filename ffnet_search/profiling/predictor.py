"""From a few timed parts and networks to milliseconds of every part: interpolation, then calibration.

A part's time is `NNLS on [1, elements, MACs, weights]` of its family (kind, mixer, kernel, stride), times a smooth
correction: a Gaussian process over the logarithms of its sizes on the logarithm of measured / fitted (kriging). The
same process says, before anything is measured, which parts are worth measuring: those that it knows least about.

Whole networks then say what a part costs inside one. Alone, its weights stay in the cache; those of a network do so up
to some number, and beyond that each run fetches the rest again:

    network_ms = intercept + slope * (sum of parts alone) + spill * max(0, millions of weights - resident)

Where it pays, one kind of token mixer has its own slope: with pooling among the mixers of the digits space, the mean
error then was 2.6 % instead of 4.5. Without the last term it was 9 to 14 % on the CIFAR space (Xeon- and EPYC-like
caches, busy neighbours), with a linear one 7 %, with this 4 to 5 %. Tried and worse: a linear term in MACs (6 %),
weights counted by resolution (7 %), one slope per kind of part (overfits at 20 networks), parts timed with evicted
caches (which level the weights come from depends on the whole network), weights counted by part (the larger of time
and fetching: 7 %), and no parts at all, a plane through MACs and weights (6 %).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ffnet_search.parts import Part

Vector = NDArray[np.float64]
Family = tuple[str, str, int, int]

LENGTH = 1.0  # of the correction's correlation, in octaves of a size
SIGNAL = 0.15  # standard deviation of log(measured / fitted)
NOISE = 0.04  # of one measurement


def family(part: Part) -> Family:
    """Parts of one family differ in sizes only."""
    return part.kind, part.mixer, part.kernel, part.stride


def by_family(parts: Iterable[Part]) -> dict[Family, list[Part]]:
    groups: defaultdict[Family, list[Part]] = defaultdict(list)
    for part in parts:
        groups[family(part)].append(part)
    return dict(groups)


def basis(part: Part) -> Vector:
    """[1, elements of its maps, MACs, weights], the last three in millions."""
    out = -(-part.resolution // part.stride)
    elements = part.in_width * part.resolution**2 + (part.hidden + part.out_width) * out**2
    return np.array([1.0, elements / 1e6, part.macs / 1e6, part.params / 1e6])


def sizes(part: Part) -> Vector:
    """Coordinates of the correction, in octaves."""
    return np.log2([part.resolution, part.in_width, part.out_width, max(part.hidden, 1)])


def choose(parts: Sequence[Part], tolerance: float) -> list[Part]:
    """Parts to measure, so that the correction's standard deviation is at most `tolerance` at all of `parts`.

    Greedily the least known part of each family, which puts the corners of the family first.
    """
    chosen = []
    for members in by_family(parts).values():
        covariance = _kernel(members, members)
        for count in range(len(members)):
            index = int(np.argmax(np.diag(covariance)))
            if count and covariance[index, index] <= tolerance**2:
                break
            chosen.append(members[index])
            column = covariance[:, index]  # condition on the new observation: a rank-one downdate
            covariance = covariance - np.outer(column, column) / (covariance[index, index] + NOISE**2)
    return chosen


def interpolate(measured: Mapping[Part, float], parts: Iterable[Part]) -> dict[Part, float]:
    """Milliseconds of all `parts` from those of some of each family. Measured ones are smoothed with the others."""
    known = by_family(measured)
    times: dict[Part, float] = {}
    for name, members in by_family(parts).items():
        seen = known[name]
        fit = non_negative_fit(np.array([basis(part) for part in seen]), np.array([measured[part] for part in seen]))
        fitted = np.array([basis(part) for part in seen]) @ fit
        residual = np.log(np.array([measured[part] for part in seen]) / fitted)
        gain = np.linalg.solve(_kernel(seen, seen) + NOISE**2 * np.eye(len(seen)), residual)
        correction = np.exp(_kernel(members, seen) @ gain)
        times |= zip(members, np.array([basis(part) for part in members]) @ fit * correction, strict=True)
    return {part: float(ms) for part, ms in times.items()}


def _kernel(a: Sequence[Part], b: Sequence[Part]) -> Vector:
    left, right = np.array([sizes(part) for part in a]), np.array([sizes(part) for part in b])
    distance = ((left[:, None] - right[None]) ** 2).sum(-1)
    return SIGNAL**2 * np.exp(-distance / (2 * LENGTH**2))


def non_negative_fit(x: Vector, y: Vector, errors: Vector | None = None) -> Vector:
    """Coefficients c >= 0 with the least sum of ((x @ c - y) / errors)^2; errors are proportional to y by default.

    Exact, by trying every subset of columns: there are four at most.
    """
    errors = y if errors is None else errors
    scale = np.where(np.abs(x).max(0) > 0, np.abs(x).max(0), 1.0)
    rows, target = x / scale / errors[:, None], y / errors
    best, least = np.zeros(x.shape[1]), float(target @ target)
    for count in range(1, x.shape[1] + 1):
        for columns in combinations(range(x.shape[1]), count):
            found = np.linalg.lstsq(rows[:, columns], target, rcond=None)[0]
            misfit = float(((rows[:, columns] @ found - target) ** 2).sum())
            if (found >= 0).all() and misfit < least - 1e-12:
                best, least = np.zeros(x.shape[1]), misfit
                best[list(columns)] = found
    return best / scale


@dataclass(frozen=True)
class Overhead:
    """Milliseconds that a part alone takes beyond its share of a network: the call, the copies in and out."""

    constant_ms: float
    per_million_elements_ms: float

    def __call__(self, part: Part) -> float:
        return self.constant_ms + self.per_million_elements_ms * _ends(part)

    @classmethod
    def fit(cls, alone: Mapping[Part, float], chained: Mapping[Part, float], copies: int) -> Overhead:
        """From the same parts once and in chains of `copies`: T(n) = overhead + n t."""
        parts = list(alone)
        x = np.array([[1.0, _ends(part)] for part in parts])
        total = np.array([(copies * alone[part] - chained[part]) / (copies - 1) for part in parts])
        # Their errors are those of the times, of which they are a small difference.
        found = non_negative_fit(x, total, errors=np.array([chained[part] for part in parts]))
        return cls(float(found[0]), float(found[1]))


def _ends(part: Part) -> float:
    out = -(-part.resolution // part.stride)
    return (part.in_width * part.resolution**2 + part.out_width * out**2) / 1e6


@dataclass(frozen=True)
class Calibration:
    """What whole networks say about a sum of parts (the formula above). All coefficients are >= 0. Where token mixers
    of one kind cost otherwise in a network than alone, as pooling does, they have a slope of their own."""

    intercept_ms: float
    slope: float
    spill_ms_per_m: float = 0.0
    resident_m: float = 0.0
    mixer: str = ""
    mixer_slope: float = 0.0

    def __call__(self, alone_ms: float, params_m: float, mixer_ms: float = 0.0) -> float:
        """`mixer_ms`: how much of `alone_ms` is of `mixer`."""
        spilt = self.spill_ms_per_m * max(0.0, params_m - self.resident_m)
        return self.intercept_ms + self.slope * (alone_ms - mixer_ms) + self.mixer_slope * mixer_ms + spilt

    def slope_of(self, part: Part) -> float:
        return self.mixer_slope if self.mixer and part.mixer == self.mixer else self.slope

    @classmethod
    def fit(
        cls,
        alone_ms: Sequence[float],
        params_m: Sequence[float],
        measured_ms: Sequence[float],
        mixers_ms: Mapping[str, Sequence[float]] | None = None,
    ) -> Calibration:
        """From a value of each per network; `mixers_ms`: how much of `alone_ms` is of which mixer. `resident` is found
        by trying. A term is left out where it does not take away a quarter of the squared error (the Bayesian
        information criterion at 20 networks)."""
        parts, weights, times = (np.asarray(values, float) for values in (alone_ms, params_m, measured_ms))

        def fitted(columns: Sequence[Vector]) -> tuple[float, Vector]:
            x = np.stack([np.ones(len(times)), *columns], axis=1)
            found = non_negative_fit(x, times)
            return float(((x @ found / times - 1) ** 2).sum()), found

        def with_spill(sums: Sequence[Vector]) -> tuple[float, Vector, float]:
            """Squared error, coefficients (the last one is of what spills), and what stays."""
            misfit, found = fitted(sums)
            best, least = (misfit, np.append(found, 0.0), 0.0), 0.75 * misfit
            for resident in np.linspace(0, np.sort(weights)[-2], 50):  # two networks are beyond it
                misfit, found = fitted([*sums, np.maximum(0, weights - resident)])
                if misfit < least - 1e-9:  # of equals the least, which assumes least below what was seen
                    best, least = (misfit, found, float(resident)), misfit
            return best

        misfit, found, resident = with_spill([parts])
        best, least = cls(float(found[0]), float(found[1]), float(found[2]), resident), 0.75 * misfit
        for mixer, share in (mixers_ms or {}).items():
            own = np.asarray(share, float)
            misfit, found, resident = with_spill([parts - own, own])
            if own.any() and misfit < least - 1e-9:
                intercept, slope, own_slope, spill = map(float, found)
                best, least = cls(intercept, slope, spill, resident, mixer, own_slope), misfit
        return best
