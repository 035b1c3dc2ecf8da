"""`ParetoSampler` proposes no configuration twice while a new one is left."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from time import sleep

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sampler_studies import CHAIN, late_study, proposed, searched, study_of, study_of_chain

from ffnet_search.search.samplers import pareto
from ffnet_search.search.samplers.proposal import ENUMERATED


def test_nothing_is_proposed_twice_until_all_is_known() -> None:
    study = study_of(2)
    for _ in range(12):
        trial = study.ask()
        x, y = (trial.suggest_categorical(name, range(size)) for name, size in (("x", 3), ("y", 4)))
        study.tell(trial, (x + y, x * y))
    assert len({tuple(params.items()) for params in proposed(study)}) == 12
    again = study.ask()
    assert again.suggest_categorical("x", range(3)) in range(3)


def test_what_is_left_of_a_space_too_large_to_list_is_found() -> None:
    axes = {
        "a": IntDistribution(0, 7),
        "b": IntDistribution(0, 7),
        "c": IntDistribution(0, 7),
        "d": IntDistribution(0, 4),
    }
    configurations = list(itertools.product(range(8), range(8), range(8), range(5)))
    assert len(configurations) > ENUMERATED
    random.Random(0).shuffle(configurations)
    left, known = configurations[:12], configurations[12:]
    study = study_of(2)
    study.add_trials(
        [
            optuna.trial.create_trial(
                params=dict(zip(axes, row, strict=True)), distributions=axes, values=[sum(row), row[0] - row[3]]
            )
            for row in known
        ]
    )
    for _ in left:
        trial = study.ask(axes)
        study.tell(trial, [sum(trial.params.values()), trial.params["a"] - trial.params["d"]])
    assert {tuple(params.values()) for params in proposed(study)[len(known) :]} == set(left)


def test_pending_trials_count() -> None:
    study = searched(study_of_chain(), 10)
    alone = study.ask(CHAIN).params
    for _ in range(7):
        study.ask(CHAIN)
    asked = proposed(study)[-8:]
    assert asked[0] == alone
    assert len({tuple(params.values()) for params in asked}) == 8


def test_what_is_told_of_within_a_block_is_not_proposed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    study, other = late_study(monkeypatch), late_study(monkeypatch)
    while len(study.trials) % pareto.LATE_BLOCK:
        for one in (study, other):
            searched(one, 1)
    searched(study, 3)
    second = proposed(study)[-2]
    other.enqueue_trial(second)
    searched(other, 3)
    assert proposed(other)[-3] == second
    assert len({tuple(params.items()) for params in proposed(other)}) == len(other.trials)


def test_threads_share_it_without_repeats() -> None:
    study = study_of(2)

    def objective(trial: optuna.Trial) -> Sequence[float]:
        kind = trial.suggest_categorical("kind", "abc")
        sleep(0.001)  # the others ask for parameters in between
        numbers = [trial.suggest_categorical(f"axis{at}", range(4)) for at in range(4)]
        gate = trial.suggest_categorical("gate", range(4)) if kind == "a" else 1
        sleep(0.002)
        return sum(numbers) + gate, sum((number - 2) ** 2 for number in numbers)

    study.optimize(objective, n_trials=60, n_jobs=6)
    assert len({tuple(params.items()) for params in proposed(study)}) == 60


def test_ranges_are_not_proposed_twice() -> None:
    study = study_of(1)
    axes = {"n": IntDistribution(1, 9, log=True), "x": FloatDistribution(0, 1, step=0.05)}
    for _ in range(60):
        trial = study.ask(axes)
        study.tell(trial, trial.params["n"] - trial.params["x"])
    assert len({tuple(params.items()) for params in proposed(study)}) == 60


def test_choices_that_are_equal_are_one() -> None:
    study = study_of(1)
    for _ in range(6):
        trial = study.ask({"x": CategoricalDistribution([1, True, 2]), "y": CategoricalDistribution("abc")})
        study.tell(trial, float(trial.params["x"]))
    assert len({tuple(params.items()) for params in proposed(study)}) == 6


def test_the_first_batch_holds_no_repeats() -> None:
    study = study_of(1)
    for _ in range(9):
        study.ask({"x": CategoricalDistribution("abc"), "y": CategoricalDistribution("abc")})
    assert len({tuple(params.items()) for params in proposed(study)}) == 9


def test_what_never_ends_is_proposed_again_where_nothing_else_is_left() -> None:
    study, axes = study_of(1), {"x": CategoricalDistribution("abc"), "y": CategoricalDistribution("abc")}
    lost = study.ask(axes).params
    for _ in range(9):
        trial = study.ask(axes)
        study.tell(trial, float(trial.params["x"] == "a"))
    assert proposed(study)[-1] == lost
