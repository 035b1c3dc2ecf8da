"""Interpolation between timed parts, on costs that are known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from latency_spaces import DIGITS, SPACES
from part_costs import cost

from ffnet_search.latency.part_model import choose, ends_m, fit_overhead, interpolate, non_negative_fit
from ffnet_search.latency.plan import parts_of
from ffnet_search.space.search_space import SearchSpace


@pytest.mark.parametrize("name", SPACES)
def test_parts_that_were_not_measured_are_near(name: str) -> None:
    parts = parts_of(SearchSpace.from_yaml(SPACES[name]))
    chosen = choose(parts, tolerance=0.05)
    times = interpolate({part: cost(part) for part in chosen}, parts)
    errors = [abs(times[part] / cost(part) - 1) for part in parts]
    assert np.mean(errors) < 0.02 and max(errors) < 0.15
    assert times.keys() == set(parts) and min(times.values()) > 0


def test_noise_of_one_part_is_shared_with_its_neighbours() -> None:
    parts = parts_of(SearchSpace.from_yaml(SPACES["ffnet_cifar"]))
    rng = np.random.default_rng(0)
    noisy = {part: cost(part) * float(np.exp(rng.normal(0, 0.08))) for part in parts}
    times = interpolate(noisy, parts)
    before, after = (np.mean([abs(ms[part] / cost(part) - 1) for part in parts]) for ms in (noisy, times))
    assert after < 0.7 * before


def test_a_fit_is_exact_where_it_can_be_and_never_negative() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0.1, 1, (30, 4))
    truth = np.array([0.5, 0.0, 2.0, 1.0])
    assert non_negative_fit(x, x @ truth) == pytest.approx(truth, abs=1e-9)
    falling = 2 - x[:, 0]
    assert (non_negative_fit(x[:, :1], falling) >= 0).all()


def test_a_fit_is_the_best_of_all_that_are_not_negative() -> None:
    """The reference tries every subset of columns."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        x, y = rng.normal(0, 1, (12, 4)), rng.uniform(0.5, 2, 12)
        rows, best, least = x / y[:, None], np.zeros(4), 12.0
        for count in range(1, 5):
            for columns in map(list, combinations(range(4), count)):
                coefficients = np.linalg.lstsq(rows[:, columns], np.ones(12), rcond=None)[0]
                misfit = float(((rows[:, columns] @ coefficients - 1) ** 2).sum())
                if (coefficients >= 0).all() and misfit < least:
                    best, least = np.zeros(4), misfit
                    best[columns] = coefficients
        assert non_negative_fit(x, y) == pytest.approx(best, abs=1e-6)


def test_the_overhead_of_a_call_is_found_and_taken_off() -> None:
    parts = [part for part in parts_of(DIGITS) if part.kind == "channel_mixer"]
    overhead_ms = {part: 0.01 + 0.5 * ends_m(part) for part in parts}
    alone = {part: cost(part) + overhead_ms[part] for part in parts}
    chained = {part: 4 * cost(part) + overhead_ms[part] for part in parts}
    fitted = fit_overhead(alone, chained, copies=4)
    assert all(fitted(part) == pytest.approx(overhead_ms[part], rel=1e-6) for part in parts)
