"""Limits of time: of a search on every engine, of the training of a supernet, and of a whole run."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState, create_trial
from searches import Run
from test_pipeline import write_sweep

from ffnet_search.errors import SweepError
from ffnet_search.run.folder import read_records
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.run.shared_time import RunTime
from ffnet_search.run.stages import plan
from ffnet_search.search.loop import spent_s
from ffnet_search.training.modules import learning_rate


def trial(start_s: float, end_s: float) -> Any:
    begin = datetime(2026, 1, 1)
    made = create_trial(state=TrialState.COMPLETE, value=0.0)
    made.datetime_start = begin + timedelta(seconds=start_s)
    made.datetime_complete = begin + timedelta(seconds=end_s)
    return made


def test_time_that_trials_share_is_counted_once_and_pauses_are_not() -> None:
    assert spent_s([trial(0, 10), trial(5, 12), trial(6, 8), trial(100, 101)]) == 13
    assert spent_s([]) == 0


def test_a_search_without_time_for_one_candidate_says_so(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="its time is over before a candidate was evaluated"):
        Run(tmp_path).search(trials=10, minutes=1e-9)


def test_the_schedule_of_a_hurried_training_ends_at_the_floor(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, train={"epochs": 100_000, "minutes": 0.03})
    run_sweep(sweep, stages=("train",))  # all epochs would take days
    assert sweep.files.supernet.exists()
    steps = 1000
    assert learning_rate(sweep.train, steps, steps) == pytest.approx(
        sweep.train.learning_rate * sweep.train.learning_rate_floor
    )
    assert plan(sweep)["train"].state.value == "done"
    assert read_records(sweep.files)["train"].amounts == {"minutes": 1}


def test_limits_of_time_are_no_inputs(tmp_path: Path) -> None:
    from ffnet_search.config.inputs import export_inputs

    plain = write_sweep(tmp_path)
    limited = write_sweep(tmp_path, train={"minutes": 5}, search={"minutes": 3})
    assert export_inputs(limited) == export_inputs(plain)


def test_a_run_divides_its_time_by_the_estimates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    estimate = {"profile": 1.0, "train": 6.0, "search": 2.0, "export": 2.0}
    sweep = write_sweep(tmp_path, estimate=estimate, export={"retrain": {"epochs": 8}})
    ten = RunTime(time.monotonic() + 600)
    train = ten.limited(sweep, ["train", "search", "export"]).train.minutes
    assert train is not None and 5.9 < train <= 6.0
    search = ten.limited(sweep, ["search", "export"]).search.minutes
    assert search is not None and 4.9 < search <= 5.0
    assert ten.limited(sweep, ["profile", "train"]) == sweep
    assert RunTime.of(None).limited(sweep, ["train"]) is sweep
    assert RunTime(time.monotonic() + 600).limited(sweep, ["export"]).export.retrain.epochs == 8
    assert RunTime(time.monotonic() + 62).limited(sweep, ["export"]).export.retrain.epochs == 4
    assert RunTime(time.monotonic() - 1).limited(sweep, ["export"]).export.retrain.epochs == 0
    assert "of 8 epochs of retraining, for want of time" in capsys.readouterr().err
    without = write_sweep(tmp_path)
    shared = RunTime(time.monotonic() + 540).limited(without, ["train", "search", "export"]).train.minutes
    assert shared == pytest.approx(5, rel=0.02)


@pytest.mark.slow
def test_a_whole_run_within_its_time_has_a_front(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, train={"epochs": 100_000}, search={"trials": 1_000_000})
    assert run_sweep(sweep, minutes=0.5)
    assert {status.state.value for status in plan(sweep).values()} == {"done"}
