"""From a few timed parts to milliseconds of every part alone, by interpolation; `calibration` puts them in a network.

A part's time is `NNLS on [1, elements, MACs, weights]` of its family (kind, mixer, kernel, stride), times a smooth
correction: a Gaussian process over the logarithms of its sizes on the logarithm of measured / fitted (kriging). The
same process says, before anything is measured, which parts are worth measuring: those that it knows least about.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ffnet_search.space.parts import Part

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
