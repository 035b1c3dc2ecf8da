"""A resumed study proposes what an uninterrupted one would, by `ParetoSampler`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
import pytest
from sampler_studies import CHAIN, chain, late_study, mixed, proposed, searched, study_of, study_of_chain

from ffnet_search.search.samplers import acquisition, pareto


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_a_resumed_study_proposes_what_an_uninterrupted_one_would(objectives: int) -> None:
    def objective(trial: optuna.Trial) -> Sequence[float]:
        return mixed(trial)[:objectives]

    whole, other = study_of(objectives), study_of(objectives, seed=1)
    for study in (whole, other):
        study.optimize(objective, n_trials=14)
    for finished in (3, 9):
        resumed = study_of(objectives)
        resumed.add_trials(whole.trials[:finished])
        resumed.optimize(objective, n_trials=14 - finished)
        assert proposed(resumed) == proposed(whole)
    assert proposed(whole) != proposed(other)
    assert all(("gate" in params) == (params["kind"] == "wide") for params in proposed(whole))


def test_many_trials_are_learnt_from_by_some_and_repeat_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acquisition, "SURROGATE_TRIALS", 8)
    whole = study_of(2)
    whole.optimize(lambda trial: mixed(trial)[:2], n_trials=16)
    assert len({tuple(params.items()) for params in proposed(whole)}) == 16
    resumed = study_of(2)
    resumed.add_trials(whole.trials[:12])
    resumed.optimize(lambda trial: mixed(trial)[:2], n_trials=4)
    assert proposed(resumed) == proposed(whole)


def test_late_proposals_are_made_by_blocks_that_a_resumed_study_makes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Counted(acquisition.Acquisition):
        def __init__(self, encoding: Any, observed: Any, *others: Any) -> None:
            made.append(len(observed.rows_NA))
            super().__init__(encoding, observed, *others)

    whole = late_study(monkeypatch)
    monkeypatch.setattr(pareto, "Acquisition", Counted)
    until = len(whole.trials) + 3 * pareto.LATE_BLOCK
    while len(whole.trials) < until:
        searched(whole, 1)
    assert len({tuple(params.items()) for params in proposed(whole)}) == len(whole.trials)
    assert len(made) <= 5 and all(count % pareto.LATE_BLOCK == 0 for count in made)
    for finished in range(until - 7, until):
        resumed = study_of_chain()
        resumed.add_trials(whole.trials[:finished])
        while len(resumed.trials) < until:
            searched(resumed, 1)
        assert proposed(resumed)[:until] == proposed(whole)[:until]


@pytest.mark.parametrize("batch", [5, 24])
def test_a_study_resumed_between_batches_proposes_what_an_uninterrupted_one_would(batch: int) -> None:
    def asked(study: optuna.Study) -> None:
        for trial in [study.ask(CHAIN) for _ in range(batch)]:
            study.tell(trial, chain(trial.params))

    whole, resumed = study_of_chain(), study_of_chain()
    for _ in range(3):
        asked(whole)
    resumed.add_trials(whole.trials)
    asked(whole)
    asked(resumed)
    assert proposed(resumed) == proposed(whole)
