"""TPE for many workers: Optuna's own proposals one by one, several from one fit where they are wanted at once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import Trial, TrialState

from ffnet_search.search.samplers.tpe import NewKey, QuickTPESampler, _Estimator

CHOICES: dict[str, BaseDistribution] = {f"axis {i}": CategoricalDistribution((8, 16, "pool")) for i in range(6)}
MIXED: dict[str, BaseDistribution] = {
    **CHOICES,
    "rate": FloatDistribution(1e-4, 1.0, log=True),
    "depth": IntDistribution(1, 9, step=2),
    "drop": FloatDistribution(0.0, 0.5),
}


def score(trial: Trial) -> list[float]:
    worth = sum({8: 0.0, 16: 1.0, "pool": 0.3}.get(value, 0.1) for value in trial.params.values())
    return [worth + trial.params.get("drop", 0.0), worth * trial.params.get("rate", 0.5) + (worth - 2) ** 2]


def proposals(
    sampler: BaseSampler,
    axes: dict[str, BaseDistribution],
    pending: int,
    trials: int = 50,
    at_once: int = 1,
    conditional: bool = False,
    new_key: NewKey = lambda params: "",
) -> list[dict[str, Any]]:
    """A search with `pending` trials at a time: some infeasible, some stopped, some failed."""
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    waiting: list[Trial] = []
    for number in range(trials):
        if isinstance(sampler, QuickTPESampler):
            sampler.expect(at_once - number % at_once, new_key)
        trial = study.ask(axes)
        if conditional and trial.params["axis 0"] == 8:
            trial.suggest_float("momentum", 0.0, 1.0)
        waiting.append(trial)
        while number % at_once == at_once - 1 and len(waiting) > pending:
            first = waiting.pop(0)
            first.set_constraint("macs_m", 1.0 if first.number % 5 == 0 else -1.0)
            if first.number % 5 == 0 or first.number % 7 == 0:
                study.tell(first, state=TrialState.PRUNED)
            elif first.number % 11 == 0:
                study.tell(first, state=TrialState.FAIL)
            else:
                study.tell(first, score(first))
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("axes", [CHOICES, MIXED], ids=["choices", "mixed"])
@pytest.mark.parametrize("pending", [0, 3, 20])
@pytest.mark.parametrize("args", [{"multivariate": True}, {}, {"multivariate": True, "group": True}], ids=str)
def test_one_by_one_it_proposes_what_optuna_does(
    axes: dict[str, BaseDistribution], pending: int, args: dict[str, Any]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        conditional = "group" in args
        expected = proposals(TPESampler(seed=3, **args), axes, pending, conditional=conditional)
        assert proposals(QuickTPESampler(seed=3, **args), axes, pending, conditional=conditional) == expected


class Counted(QuickTPESampler):
    """Counts its fits."""

    def __init__(self, **args: Any) -> None:
        super().__init__(**args)
        self.fits = 0

    def _compute_acquisition_func(self, *args: Any) -> Any:
        self.fits += 1
        return super()._compute_acquisition_func(*args)


@pytest.mark.parametrize("axes", [CHOICES, MIXED], ids=["choices", "mixed"])
def test_what_is_wanted_at_once_comes_from_one_fit(axes: dict[str, BaseDistribution]) -> None:
    samplers = [Counted(multivariate=True, seed=0) for _ in range(2)]
    found, again = (proposals(sampler, axes, pending=32, trials=400, at_once=4) for sampler in samplers)
    assert samplers[0].fits == pytest.approx((400 - 32 - 10) / 4, abs=4)  # the first ones are random
    assert found == again
    for params in found:
        assert all(one._contains(one.to_internal_repr(params[name])) for name, one in axes.items())


def learnt(sampler: QuickTPESampler) -> optuna.Study:
    """A study in which a single point is by far the best one."""
    study = optuna.create_study(sampler=sampler)
    for number in range(300):
        trial = study.ask(CHOICES)
        study.tell(trial, sum(value != 8 for value in trial.params.values()) + number / 1e6)
    return study


def distinct(seed: int) -> int:
    """Of 16 proposals that are drawn together where a single point is by far the best one known."""
    sampler = Counted(multivariate=True, seed=seed)
    study = learnt(sampler)
    sampler.expect(16, lambda params: "")
    before = sampler.fits
    drawn = {tuple(study.ask(CHOICES).params.items()) for _ in range(16)}
    assert sampler.fits == before + 1
    return len(drawn)


def test_what_was_drawn_counts_as_bad_for_the_draws_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    apart = [distinct(seed) for seed in range(4)]
    monkeypatch.setattr(_Estimator, "log_kernel", lambda self, samples, at: np.full(len(samples["axis 0"]), -np.inf))
    alike = [distinct(seed) for seed in range(4)]
    assert all(more >= less for more, less in zip(apart, alike, strict=True))
    assert sum(apart) > sum(alike) + 4


def name_of(params: Mapping[str, Any]) -> str:
    """Of what parameters stand for: the first axis decides nothing."""
    return str([value for axis, value in params.items() if axis != "axis 0"])


@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("seed", range(3))
def test_of_the_samples_that_are_no_repeat_the_best_is_proposed(at_once: int, seed: int) -> None:
    sampler = QuickTPESampler(multivariate=True, seed=seed)
    study = learnt(sampler)
    known, judged = {name_of(trial.params) for trial in study.trials}, list[str]()

    def new_key(params: Mapping[str, Any]) -> str | None:
        judged.append(name_of(params))
        return None if judged[-1] in known else judged[-1]

    before = len(known)
    for _ in range(10):
        judged.clear()
        sampler.expect(at_once, new_key)
        names = [name_of(study.ask(CHOICES).params) for _ in range(at_once)]
        new = [name for name in names if name not in known]
        assert sorted(new) == sorted(set(judged) - known)  # none is passed over, and none comes twice
        assert len(new) == at_once or len(judged) >= 24  # where all samples of one are repeats, it is one
        known.update(new)
    assert len(known) > before


def test_where_all_samples_are_repeats_it_proposes_what_optuna_does() -> None:
    sampler, plain = QuickTPESampler(multivariate=True, seed=7), TPESampler(multivariate=True, seed=7)
    assert proposals(sampler, CHOICES, 3, new_key=lambda params: None) == proposals(plain, CHOICES, 3)


def test_it_starts_again_with_another_study() -> None:
    """Whose trials have the same numbers, and other values."""
    sampler, fresh = (QuickTPESampler(multivariate=True, seed=5) for _ in range(2))
    proposals(sampler, CHOICES, 0, 30)
    studies = [optuna.create_study(sampler=one) for one in (sampler, fresh)]
    fresh._rng.rng.set_state(sampler._rng.rng.get_state())
    fresh._random_sampler._rng.rng.set_state(sampler._random_sampler._rng.rng.get_state())
    for _ in range(30):
        first, second = (study.ask(CHOICES) for study in studies)
        assert first.params == second.params
        for study, trial in zip(studies, (first, second), strict=True):
            study.tell(trial, score(trial)[0])
