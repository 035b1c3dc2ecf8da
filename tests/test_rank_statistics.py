"""Rank correlations of resamples equal SciPy's of the repeated items; intervals and noise behave as they must."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from ffnet_search.evaluation.rank_statistics import (
    Correlation,
    agreement,
    correlate,
    difference,
    kendall,
    resamples,
    spearman,
)

ORACLES = [(kendall, kendalltau), (spearman, spearmanr)]


@pytest.mark.parametrize(("ours", "theirs"), ORACLES, ids=["kendall", "spearman"])
@pytest.mark.parametrize("levels", [3, 1000])
def test_a_resample_counts_as_its_repeated_items(ours: Correlation, theirs: object, levels: int) -> None:
    rng = np.random.default_rng(levels)
    x_N, y_N = (rng.integers(0, levels, 12).astype(float) for _ in range(2))
    counts_BN = np.vstack([np.ones(12), resamples(12)[:40]])
    for found, counts_N in zip(ours(x_N, y_N, counts_BN), counts_BN, strict=True):
        items = np.repeat(np.arange(12), counts_N.astype(int))
        assert found == pytest.approx(theirs(x_N[items], y_N[items]).statistic, abs=1e-12)  # type: ignore[operator]


@pytest.mark.parametrize("statistic", [kendall, spearman])
def test_the_same_order_is_one_the_reverse_minus_one_and_a_constant_none(statistic: Correlation) -> None:
    x = [3.0, 1.0, 2.0, 5.0, 4.0]
    same, reverse = correlate(statistic, x, [value**3 for value in x]), correlate(statistic, x, [-value for value in x])
    assert (same.value, same.low, same.high) == pytest.approx((1, 1, 1))
    assert (reverse.value, reverse.low, reverse.high) == pytest.approx((-1, -1, -1))
    assert math.isnan(correlate(statistic, [1.0] * 5, x).value)


def test_an_interval_holds_the_true_correlation_about_as_often_as_it_says() -> None:
    """Of a bivariate normal, tau is 2 / pi arcsin(rho)."""
    rng, rho, hits, widths = np.random.default_rng(0), 0.7, 0, []
    for _ in range(40):
        x_N, noise_N = rng.standard_normal((2, 20))
        found = correlate(kendall, x_N.tolist(), (rho * x_N + math.sqrt(1 - rho**2) * noise_N).tolist())
        widths.append(found.high - found.low)
        hits += found.low <= 2 / math.pi * math.asin(rho) <= found.high
    assert hits >= 36
    assert np.median(widths) < 0.6


def test_a_difference_is_paired() -> None:
    rng = np.random.default_rng(1)
    y = rng.standard_normal(20)
    good, bad = (y + 0.3 * rng.standard_normal(20)).tolist(), (y + 3 * rng.standard_normal(20)).tolist()
    none, better = difference(kendall, good, good, y.tolist()), difference(kendall, good, bad, y.tolist())
    assert (none.value, none.low, none.high) == (0, 0, 0)
    assert 0 < better.low < better.value < better.high
    worse = difference(kendall, bad, good, y.tolist())
    assert (worse.value, worse.low, worse.high) == pytest.approx((-better.value, -better.high, -better.low))


def test_trainings_without_noise_agree_and_noise_as_large_as_the_differences_hides_the_order() -> None:
    y = [float(value) for value in range(12)]
    calm, mild, wild = agreement(y, [0.0, 0.0]), agreement(y, [0.5, -0.5, 1.0]), agreement(y, [20.0, -20.0, 15.0])
    assert (calm.value, calm.low, calm.high) == (1, 1, 1)
    assert 0.8 < mild.value < 1
    assert abs(wild.value) < 0.1 and wild.low < -0.2 < 0.2 < wild.high
