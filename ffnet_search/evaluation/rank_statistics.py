"""Rank correlations with bootstrap intervals, for dozens of networks: all resamples of the networks at once, by NumPy.

A resample of N items with replacement is represented by the number of times that each was drawn, a row of `counts_BN`
(B resamples, N items). A correlation of a resample is that of the items with these weights; a row of ones gives that of
the items themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Correlation = Callable[[Array, Array, Array], Array]  # (x_N, y_N, counts_BN) -> (B,)
RESAMPLES = 4000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A statistic and its 95 % interval; not a number where it does not exist, as a correlation with a constant."""

    value: float
    low: float
    high: float


def resamples(count: int, seed: int = 0) -> Array:
    """Counts (B, N) of `RESAMPLES` draws of N from N items with replacement."""
    draws = np.random.default_rng([seed, count]).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    return draws.astype(np.float64)


def kendall(x_N: Array, y_N: Array, counts_BN: Array) -> Array:
    """Kendall's tau-b of each resample, as `scipy.stats.kendalltau` computes it; NaN if x or y is constant."""
    x_NN, y_NN = np.sign(x_N[:, None] - x_N), np.sign(y_N[:, None] - y_N)

    def pairs(sign_NN: Array) -> Array:
        weights: Array = ((counts_BN @ sign_NN) * counts_BN).sum(1)
        return weights

    return _ratio(pairs(x_NN * y_NN), pairs(x_NN**2) * pairs(y_NN**2))


def spearman(x_N: Array, y_N: Array, counts_BN: Array) -> Array:
    """Spearman's rho of each resample: Pearson's of the ranks, ties sharing their mean rank."""
    x_BN, y_BN = (_centred_ranks(values_N, counts_BN) for values_N in (x_N, y_N))

    def total(products_BN: Array) -> Array:
        sums: Array = (counts_BN * products_BN).sum(1)
        return sums

    return _ratio(total(x_BN * y_BN), total(x_BN**2) * total(y_BN**2))


def _centred_ranks(values_N: Array, counts_BN: Array) -> Array:
    """Ranks (B, N) of the items in each resample, less their mean."""
    below_NN, equal_NN = values_N < values_N[:, None], values_N == values_N[:, None]
    ranks_BN = counts_BN @ below_NN.T + (counts_BN @ equal_NN.T + 1) / 2
    centred: Array = ranks_BN - (counts_BN.sum(1, keepdims=True) + 1) / 2
    return centred


def _ratio(covariance_B: Array, variances_B: Array) -> Array:
    """Covariance over the root of the product of variances; both are sums of halves, so that zero is exact."""
    constant_B = variances_B <= 0
    return np.where(constant_B, np.nan, covariance_B / np.sqrt(np.where(constant_B, 1.0, variances_B)))


def correlate(statistic: Correlation, x: Sequence[float], y: Sequence[float], seed: int = 0) -> Interval:
    """A correlation with its bootstrap interval (percentiles, over the networks)."""
    x_N, y_N = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return _interval(float(statistic(x_N, y_N, _once(x_N))[0]), statistic(x_N, y_N, resamples(len(x_N), seed)))


def difference(
    statistic: Correlation, x: Sequence[float], other: Sequence[float], y: Sequence[float], seed: int = 0
) -> Interval:
    """The correlation of x with y less that of `other` with y, and its paired bootstrap interval: both are computed on
    the same resamples of the networks, so what the two share does not widen it."""
    x_N, other_N, y_N = (np.asarray(values, np.float64) for values in (x, other, y))
    counts_BN = np.vstack([_once(x_N), resamples(len(x_N), seed)])
    differences = statistic(x_N, y_N, counts_BN) - statistic(other_N, y_N, counts_BN)
    return _interval(float(differences[0]), differences[1:])


def agreement(y: Sequence[float], pair_differences: Sequence[float], seed: int = 0) -> Interval:
    """Kendall's tau at which two trainings of the same networks would agree, by the noise of one training.

    `y`: the quality of each network, trained once. `pair_differences`: of networks that were trained twice. Simulated:
    true qualities are `y` shrunk by the variance of the noise, to which two independent normal noises are added. The
    interval holds the luck of the simulated noise and, by a bootstrap of the pairs, how little few pairs tell."""
    y_N, pairs_P = np.asarray(y, np.float64), np.asarray(pair_differences, np.float64)
    rng, variance = np.random.default_rng([seed, len(y_N)]), float(np.var(y_N))
    found = []
    for _ in range(RESAMPLES // 4):
        noise = float(np.sqrt(np.mean(rng.choice(pairs_P, len(pairs_P)) ** 2) / 2))
        shrink = np.sqrt(max(0.0, 1 - noise**2 / variance)) if variance else 0.0
        true_N = y_N.mean() + shrink * (y_N - y_N.mean())
        first_N, second_N = (true_N + noise * rng.standard_normal(len(y_N)) for _ in range(2))
        found.append(float(kendall(first_N, second_N, _once(y_N))[0]))
    return _interval(float(np.nanmean(found)) if np.isfinite(found).any() else float("nan"), np.array(found))


def _once(values_N: Array) -> Array:
    return np.ones((1, len(values_N)))


def _interval(value: float, values_B: Array) -> Interval:
    finite = values_B[np.isfinite(values_B)]
    if not len(finite) or not np.isfinite(value):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))
