"""Limits of time: of a search on every engine, of the training of a supernet, and of a whole run."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState, create_trial
from searches import Run
from small_sweeps import write_sweep

from ffnet_search.cli.tables.plan import print_sweep
from ffnet_search.config.retraining import retraining_of
from ffnet_search.errors import SweepError
from ffnet_search.models.saved import read_epochs
from ffnet_search.run.cost_comparison import compare_ways
from ffnet_search.run.fidelity.measure import FidelityPlan, measure_fidelity
from ffnet_search.run.folder.run_folder import read_records
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.run.shared_time import RunTime, as_trained
from ffnet_search.run.stages import plan
from ffnet_search.search.loop import spent_s
from ffnet_search.training.callbacks.time_budget import batches_until_next
from ffnet_search.training.optimizers.recipe import learning_rate


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


@pytest.mark.parametrize(
    ("batches", "seconds", "interval_s", "until"),
    [(100, 1.0, 1.0, 100), (100, 4.0, 1.0, 25), (10, 0.1, 1.0, 20), (1, 30.0, 1.0, 1), (50, 1.0, 0.0, 1), (4, 0, 1, 8)],
)
def test_the_clock_of_a_training_is_read_about_once_an_interval(
    batches: int, seconds: float, interval_s: float, until: int
) -> None:
    assert batches_until_next(batches, seconds, interval_s) == until


def test_the_schedule_of_a_hurried_training_ends_at_the_floor(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, train={"epochs": 100_000, "minutes": 0.03})
    run_sweep(sweep, stages=("train",))  # all epochs would take days
    assert sweep.files.supernet.exists()
    steps = 1000
    assert learning_rate(sweep.train, steps, steps) == pytest.approx(
        sweep.train.learning_rate * sweep.train.learning_rate_floor
    )
    assert plan(sweep)["train"].state.value == "done"
    epochs = read_epochs(sweep.files.supernet)
    assert epochs is not None and 0 < epochs < 1000
    had = max(1, round(epochs))
    assert read_records(sweep.files)["train"].amounts == {"minutes": 1, "epochs": had}
    trained = as_trained(sweep)
    assert trained.train.epochs == had
    retraining, ways, planned = retraining_of(trained), compare_ways(trained), compare_ways(sweep)
    assert retraining is not None and retraining.epochs == max(1, had // 2)
    assert ways is not None and planned is not None
    assert ways.each / planned.each == pytest.approx(had / 100_000)
    run_sweep(sweep, stages=("train",))  # done: it is not trained again
    assert read_epochs(sweep.files.supernet) == epochs


def test_before_a_training_its_minutes_are_turned_into_epochs_by_the_estimate(tmp_path: Path) -> None:
    estimate = {"profile": 1.0, "train": 6.0, "search": 2.0, "export": 2.0}
    limited = as_trained(write_sweep(tmp_path, estimate=estimate, train={"epochs": 30, "minutes": 2}))
    assert limited.train.epochs == 10
    assert limited.estimate["export"] == pytest.approx(2 / 3)
    given = {"train": {"epochs": 30, "minutes": 2}, "export": {"retrain": {"epochs": 7}}}
    assert as_trained(write_sweep(tmp_path, estimate=estimate, **given)).estimate["export"] == 2
    for train in ({"epochs": 30}, {"epochs": 30, "minutes": 20}):
        sweep = write_sweep(tmp_path, estimate=estimate, train=train)
        assert as_trained(sweep) is sweep
    unknown = write_sweep(tmp_path, train={"epochs": 30, "minutes": 2})
    assert as_trained(unknown) is unknown


@pytest.mark.slow
def test_networks_are_trained_alone_by_the_epochs_that_the_supernet_had(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = {"top": 2, "folds": 2}
    train = {"epochs": 100_000, "minutes": 0.03}  # a network alone would take days
    sweep = write_sweep(tmp_path, train=train, latency={"noisy": True}, search={"trials": 4}, export=export)
    networks = run_sweep(sweep)
    had = as_trained(sweep).train.epochs
    assert f"the supernet had time for {had} of 100000 epochs" in capsys.readouterr().err
    for network in networks:
        card = network.read_card()
        assert (card["retraining"]["epochs"], card["folds"]["epochs"]) == (max(1, had // 2), had)
    fidelity = measure_fidelity(sweep, FidelityPlan(4, 0))
    assert fidelity.record["epochs"] == had
    print_sweep(sweep)
    shown = capsys.readouterr().out
    least = max(1, had // 2)
    assert f"{had} of 100000 epochs" in shown and f"{least} to {3 * least} epochs from inherited weights" in shown


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
