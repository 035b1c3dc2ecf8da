"""Milliseconds of every part alone, interpolated from a few timed parts; `network_model` fits whole networks.

    (1)  part_ms = basis(part) c * exp(g(sizes(part))),  c >= 0

The basis is [1, elements, MACs, weights], with coefficients per family (kind, mixer, kernel, stride, scale). The
correction g is a Gaussian process over the logarithms of the part's sizes, fitted to log(measured / basis c) (kriging).
The same process says, before anything is measured, which parts are worth measuring: those with the largest variance.
scikit-learn's GaussianProcessRegressor gives the same to 4e-16, but takes seconds to import, and `choose` needs the
covariance itself."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from ffnet_search.space.parts import Family, Part

Floats = NDArray[np.float64]

LENGTH = 1.0  # of the correction's correlation, in octaves of a size
SIGNAL = 0.15  # standard deviation of log(measured / fitted)
NOISE = 0.04  # of one measurement


def by_family(parts: Iterable[Part]) -> dict[Family, list[Part]]:
    """The members of each family, in order."""
    groups: defaultdict[Family, list[Part]] = defaultdict(list)
    for part in parts:
        groups[part.family].append(part)
    return dict(groups)


def basis(part: Part) -> Floats:
    """[1, elements of its maps, MACs, weights], the last three in millions."""
    elements = part.in_width * part.pixels + (part.hidden + part.out_width) * part.out_pixels
    return np.array([1.0, elements / 1e6, part.costs.macs / 1e6, part.costs.params / 1e6])


def sizes(part: Part) -> Floats:
    """The coordinates of the correction, in octaves."""
    return np.log2([math.sqrt(part.pixels), part.in_width, part.out_width, max(part.hidden, 1)])


def choose(parts: Sequence[Part], tolerance: float) -> list[Part]:
    """Choose parts to measure, so that the correction's standard deviation is at most `tolerance` at all of `parts`.

    Takes the part of the largest variance of each family until all are small enough; its corners come first."""
    chosen = []
    for members in by_family(parts).values():
        covariance = _covariance(members, members)
        for count in range(len(members)):
            index = int(np.argmax(np.diag(covariance)))
            if count and covariance[index, index] <= tolerance**2:
                break
            chosen.append(members[index])
            column = covariance[:, index]  # condition on the new observation: a rank-one downdate
            covariance = covariance - np.outer(column, column) / (covariance[index, index] + NOISE**2)
    return chosen


def interpolate(measured: Mapping[Part, float], parts: Iterable[Part]) -> dict[Part, float]:
    """Milliseconds of all `parts` from those of some of each family, by (1). Measured ones are smoothed too."""
    measured_of = by_family(measured)
    times: dict[Part, float] = {}
    for name, members in by_family(parts).items():
        known = measured_of[name]
        known_ms = np.array([measured[part] for part in known])
        known_basis = np.array([basis(part) for part in known])
        coefficients = non_negative_fit(known_basis, known_ms)
        residual = np.log(known_ms / (known_basis @ coefficients))
        # The mean of the process at `members`: K(members, known) (K(known, known) + NOISE^2 I)^-1 residual
        weights = np.linalg.solve(_covariance(known, known) + NOISE**2 * np.eye(len(known)), residual)
        correction = np.exp(_covariance(members, known) @ weights)
        members_ms = np.array([basis(part) for part in members]) @ coefficients * correction
        times |= zip(members, members_ms.tolist(), strict=True)
    return times


def _covariance(a: Sequence[Part], b: Sequence[Part]) -> Floats:
    left, right = np.array([sizes(part) for part in a]), np.array([sizes(part) for part in b])
    distance = ((left[:, None] - right[None]) ** 2).sum(-1)
    return SIGNAL**2 * np.exp(-distance / (2 * LENGTH**2))


def non_negative_fit(x: Floats, y: Floats, errors: Floats | None = None) -> Floats:
    """Coefficients c >= 0 with the least sum of ((x @ c - y) / errors)^2; errors are proportional to y by default."""
    errors = y if errors is None else errors
    scale = np.where(np.abs(x).max(0) > 0, np.abs(x).max(0), 1.0)
    coefficients, _ = nnls(x / scale / errors[:, None], y / errors)
    return coefficients / scale


def fit_overhead(alone: Mapping[Part, float], chained: Mapping[Part, float], copies: int) -> Callable[[Part], float]:
    """Milliseconds that a part takes beyond its share of a network: the call, the copies in and out.

    Fitted to the parts `alone`, once and in chains of `copies`: T(n) = overhead + n t, overhead = a + b ends."""
    ends = np.array([[1.0, ends_m(part)] for part in alone])
    overheads_ms = np.array([(copies * alone[part] - chained[part]) / (copies - 1) for part in alone])
    # Their errors are those of the times, of which they are a small difference.
    a, b = non_negative_fit(ends, overheads_ms, errors=np.array([chained[part] for part in alone])).tolist()
    return lambda part: float(a + b * ends_m(part))


def ends_m(part: Part) -> float:
    """Millions of elements that enter and leave a part."""
    return (part.in_width * part.pixels + part.out_width * part.out_pixels) / 1e6
