"""The parts of `ParetoSampler`: encodings, the surrogate, and the expected hypervolume improvement."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from scipy.stats import spearmanr

from ffnet_search.pareto.front import hypervolume
from ffnet_search.search.samplers.acquisition import last_fit
from ffnet_search.search.samplers.axis import MAX_CHOICES
from ffnet_search.search.samplers.conditions import Conditions
from ffnet_search.search.samplers.encoding import Encoding, identities
from ffnet_search.search.samplers.improvement import boxes, expected_improvement
from ffnet_search.search.samplers.inputs import Inputs
from ffnet_search.search.samplers.surrogate import Surrogate

VALUES: list[tuple[BaseDistribution, list[Any]]] = [
    (CategoricalDistribution(["a", None, True]), ["a", None, True]),
    (CategoricalDistribution([16, 32, 48]), [16, 32, 48]),
    (IntDistribution(2, 5), [2, 5]),
    (IntDistribution(0, 100, step=10), [0, 30, 100]),
    (IntDistribution(1, 1000, log=True), [1, 1000]),
    (FloatDistribution(0.0, 1.0, step=0.25), [0.0, 0.75]),
    (FloatDistribution(0.5, 2.0), [0.5, 2.0]),
    (FloatDistribution(1e-4, 1e-1, log=True), [1e-4, 1e-1]),
]


@pytest.mark.parametrize(("distribution", "values"), VALUES)
def test_an_axis_decodes_what_it_encodes(distribution: BaseDistribution, values: list[Any]) -> None:
    encoding = Encoding({"x": distribution})
    rows = np.array([encoding.row({"x": value}) for value in values])
    assert [encoding.params(row)["x"] for row in rows] == pytest.approx(values)
    assert np.linalg.norm(encoding.features(rows), axis=1) == pytest.approx(np.ones(len(values)))
    drawn = [encoding.params(row)["x"] for row in encoding.draw(np.random.default_rng(0), 20)]
    assert all(distribution._contains(distribution.to_internal_repr(value)) for value in drawn)  # noqa: SLF001


def test_conditions_are_learnt_and_kept() -> None:
    encoding = Encoding({"k": CategoricalDistribution("ab"), "x": IntDistribution(0, 9)}, conditional={"x"})
    rows = np.array([encoding.row(params) for params in ({"k": "a", "x": 1}, {"k": "b"}, {"k": "a", "x": 7})])
    conditions = Conditions(rows)
    kept = conditions.keep(np.array([[0.0, 3.0], [1.0, 3.0]]))
    assert encoding.params(kept[0]) == {"k": "a", "x": 3}
    assert encoding.params(kept[1]) == {"k": "b"}
    assert identities(kept)[1] == identities(rows)[1] != identities(kept)[0]


def made_up(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 4, size=(count, 10)).astype(float)
    return rows, np.sqrt(rows.sum(axis=1)) + 0.1 * (rows[:, 1:] * rows[:, :-1]).sum(axis=1)


ENCODING = Encoding({f"x{at}": CategoricalDistribution([0, 1, 2, 3]) for at in range(10)})


@pytest.mark.parametrize("seed", range(20))
def test_conditions_are_those_of_the_rule_read_axis_by_axis(seed: int) -> None:
    """Beside each axis that some lack: of those with few numbers, which the fewest lack, the first that tells by its
    number whether the axis is lacking. On tables of choices, with ranges among them, or of ranges alone."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 3, size=(60, 6)).astype(float)
    rows[:, rng.random(6) < (0.0, 0.4, 1.0)[seed % 3]] += rng.random((60, 1))
    rows[rows[:, 0] < 1, 3] = np.nan
    rows[np.nan_to_num(rows[:, 3], nan=-1.0) < 1, 5] = np.nan
    lacking, numbers = np.isnan(rows), np.nan_to_num(rows, nan=-1.0)
    wanted = []
    for axis in np.flatnonzero(lacking.any(axis=0) & ~lacking.all(axis=0)).tolist():
        for other in np.argsort(lacking.sum(axis=0), kind="stable").tolist():
            absent, present = set(numbers[lacking[:, axis], other]), set(numbers[~lacking[:, axis], other])
            if other != axis and not absent & present and len(absent) + len(present) <= MAX_CHOICES:
                wanted.append((axis, other, sorted(absent)))
                break
    conditions = Conditions(rows)
    assert sorted((axis, other, absent.tolist()) for axis, other, absent in conditions.rules) == wanted
    drawn = rng.integers(0, 3, size=(40, 6)).astype(float)
    kept = drawn.copy()
    for _ in wanted:
        for axis, other, absent in wanted:
            kept[np.isin(np.nan_to_num(kept[:, other], nan=-1.0), absent), axis] = np.nan
    assert np.array_equal(conditions.keep(drawn), kept, equal_nan=True)


def test_the_process_ranks_what_it_has_not_seen_and_is_sure_of_what_it_has() -> None:
    rows, y = made_up(60, 0)
    surrogate = Surrogate(ENCODING, Inputs.of(ENCODING, rows), y)
    others, truth = made_up(200, 1)
    mean, sd = surrogate.predict(Inputs.of(ENCODING, others))
    assert spearmanr(mean, truth).statistic > 0.9
    assert 0.3 < np.sqrt((((truth - mean) / sd) ** 2).mean()) < 3
    assert surrogate.predict(Inputs.of(ENCODING, rows))[1].max() < sd.min() * 2


def test_no_candidates_are_predicted_as_none() -> None:
    """A space that is nearly used up leaves no new candidates to breed."""
    encoding = Encoding(
        {"a": CategoricalDistribution([3, 5]), "b": FloatDistribution(0, 1), "c": IntDistribution(1, 9)}
    )
    rows_NA = encoding.draw(np.random.default_rng(0), 8)
    process = Surrogate(encoding, Inputs.of(encoding, rows_NA), rows_NA[:, 0])
    mean_N, deviation_N = process.predict(Inputs.of(encoding, rows_NA[:0]))
    assert mean_N.shape == deviation_N.shape == (0,)


def test_what_is_left_of_the_deviations_is_that_of_a_process_that_believes() -> None:
    rows, y = made_up(40, 0)
    surrogate = Surrogate(ENCODING, Inputs.of(ENCODING, rows), y)
    others = Inputs.of(ENCODING, made_up(30, 1)[0])
    mean, sd = surrogate.predict(others)
    believed = Surrogate(ENCODING, surrogate.inputs, y, surrogate.weights, others.take([3])).predict(others)
    assert believed[0] == pytest.approx(mean, abs=1e-5)  # in single precision
    assert believed[1] == pytest.approx(sd * surrogate.remaining_sd(others, 3), rel=1e-4)
    assert believed[1][3] < sd[3]


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_the_gain_of_a_known_point_is_that_of_the_hypervolume(objectives: int) -> None:
    rng = np.random.default_rng(objectives)
    front, reference = rng.random((8, objectives)), np.full(objectives, 0.9)
    lower, upper = boxes(front, reference)
    directions = ["minimize"] * objectives
    before = hypervolume(front.tolist(), reference.tolist(), directions)
    for point in rng.random((10, objectives)):
        gain = hypervolume([*front.tolist(), point.tolist()], reference.tolist(), directions) - before
        expected = expected_improvement(point[None], np.zeros((1, objectives)), lower, upper)[0]
        assert expected == pytest.approx(gain, abs=1e-9)


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_the_expected_gain_is_the_mean_of_gains(objectives: int) -> None:
    rng = np.random.default_rng(objectives)
    front, reference = rng.random((6, objectives)), np.full(objectives, 0.9)
    lower, upper = boxes(front, reference)
    mean, sd = rng.random(objectives), np.full(objectives, 0.2)
    draws = rng.normal(mean, sd, size=(20_000, objectives))
    gains = expected_improvement(draws, np.zeros_like(draws), lower, upper)
    expected = expected_improvement(mean[None], sd[None], lower, upper)[0]
    assert expected == pytest.approx(gains.mean(), abs=4 * gains.std() / 20_000**0.5)


def test_weights_are_fitted_on_a_schedule_that_the_number_of_trials_tells() -> None:
    fits = [last_fit(trials) for trials in range(4, 200)]
    assert fits == sorted(fits)
    assert all(fit <= trials for fit, trials in zip(fits, range(4, 200), strict=True))
    assert len(set(fits)) < 25
