"""A trial is stored and read without loss, and no attribute of the program becomes a metric."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from ffnet_search.errors import SweepError
from ffnet_search.evaluation.outcome import Ended, Failed, Stopped
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.search.storage.trial_record import ATTRIBUTES, TrialRecord
from ffnet_search.space.search_space import SearchSpace

SPACE = SearchSpace.model_validate({"hyperparameters": {"rate": {"low": 0.0, "high": 1.0}}})
BEGUN = TrialRecord("k", "stem 8/1", "sampler", {"latency_ms": 0.5})
REPORTS = {1: {"accuracy": 0.25}, 2: {"accuracy": 0.5}}
SCHEDULE = [
    {"after_epoch": 0, "hyperparameters": {"rate": 0.25}},
    {"after_epoch": 3, "hyperparameters": {"rate": 0.75}},
]


def stored(record: TrialRecord, state: TrialState, **changes: Any) -> FrozenTrial:
    """The trial after a database, which knows JSON alone."""
    attributes = json.loads(json.dumps(record.to_attrs()))
    values = [0.5] if state == TrialState.COMPLETE else None
    return create_trial(state=state, values=values, user_attrs=attributes, **changes)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Candidate(None, {"accuracy": 0.75, "val_loss": 2.0}, record={"seed": 7}), TrialState.COMPLETE),
        (Candidate(None, {"accuracy": 0.75}, record={"schedule": SCHEDULE}), TrialState.COMPLETE),
        (Stopped(2, {"accuracy": 0.5}), TrialState.PRUNED),
        (Failed("MemoryError: none left", "Traceback ..."), TrialState.FAIL),
    ],
)
def test_a_trial_is_read_as_it_was_stored(outcome: Ended, state: TrialState) -> None:
    record = BEGUN.ended(outcome, REPORTS)
    read = TrialRecord.from_trial(stored(record, state))
    for field in fields(TrialRecord):
        if field.name not in ("number", "id", "params", "excess"):  # the trial's own
            assert getattr(read, field.name) == getattr(record, field.name), field.name
    assert read.metrics["latency_ms"] == 0.5


def test_metrics_are_flat_attributes_and_no_others_are_metrics() -> None:
    record = BEGUN.ended(Candidate(None, {"val_loss": 2.0}, record={"seed": 7}), REPORTS)
    attributes = record.to_attrs()
    assert attributes.keys() - set(ATTRIBUTES) == {"latency_ms", "val_loss"}
    trial = stored(record, TrialState.COMPLETE)
    trial.set_user_attr("note", "of the user")
    assert TrialRecord.from_trial(trial).metrics == {"latency_ms": 0.5, "val_loss": 2.0}
    assert set(ATTRIBUTES) < {field.name for field in fields(TrialRecord)}


def test_an_infeasible_trial_keeps_its_costs_and_its_excess() -> None:
    trial = stored(BEGUN, TrialState.PRUNED, constraints={"latency_ms": 0.25, "params_m": -0.5})
    record = TrialRecord.from_trial(trial)
    assert (record.state, record.is_feasible, record.excess["latency_ms"]) == ("infeasible", False, 0.25)
    assert record.metrics == {"latency_ms": 0.5}


def test_the_last_hyperparameters_of_a_schedule_are_the_final_ones() -> None:
    record = BEGUN.ended(Candidate(None, {"accuracy": 0.5}, record={"schedule": SCHEDULE}), {})
    assert record.schedule == "rate 0.25; after epoch 3 rate 0.75"
    read = TrialRecord(**{**record.__dict__, "params": {"rate": 0.25}})
    assert (read.params, read.final_params) == ({"rate": 0.25}, {"rate": 0.75})
    candidate = read.candidate(SPACE)
    assert (candidate.hyperparameters, candidate.final_hyperparameters) == ({"rate": 0.25}, {"rate": 0.75})
    assert Candidate(None, {}, {"rate": 0.5}).final_hyperparameters == {"rate": 0.5}


def test_a_constraint_that_is_no_number_is_a_damaged_trial() -> None:
    """As a study of another program, or of a stranger, may hold it."""
    trial = create_trial(state=TrialState.COMPLETE, values=[0.5], system_attrs={"constraints": {"params_m": -1.0}})
    with pytest.raises(
        SweepError, match=r"trial -?\d+ of the study is damaged: the constraint '0' is 'params_m'; restore"
    ):
        TrialRecord.from_trial(trial)
