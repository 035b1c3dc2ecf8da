"""Rows that are written directly are read by Optuna as its own, and the counterpart that reads them."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from searches import Run

from ffnet_search.errors import SweepError
from ffnet_search.search.storage import trial_writer
from ffnet_search.search.storage.study import open_study, read_records


def finished_trials() -> Iterator[FrozenTrial]:
    axes = {name: optuna.distributions.CategoricalDistribution((3, 5, "pool")) for name in "ab"}
    common: dict[str, Any] = {
        "params": {"a": 5, "b": "pool"},
        "distributions": axes,
        "user_attrs": {"key": "x", "n": 1.5},
    }
    yield create_trial(
        values=[0.5, 1e-3], constraints={"macs_m": -1.0}, system_attrs={"NSGAIISampler:generation": 1}, **common
    )
    yield create_trial(state=TrialState.PRUNED, constraints={"macs_m": 1.0}, **common)
    yield create_trial(state=TrialState.PRUNED, intermediate_values={2: 0.5}, **common)
    yield create_trial(state=TrialState.FAIL, **common)


@pytest.mark.parametrize("direct", [True, False])
def test_written_trials_are_read_by_optuna_as_they_were(
    tmp_path: Path, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trial_writer.rows_are_right()  # with the version of Optuna that is pinned
    monkeypatch.setattr(trial_writer, "rows_are_right", lambda: direct)
    trials = [*finished_trials(), *finished_trials()]
    with open_study(tmp_path / "s.db", {"accuracy": "maximize", "latency_ms": "minimize"}, "d") as to_disk:
        assert (to_disk.rows is not None) == direct
        assert list(to_disk.stored()) == []
        to_disk.add(trials[:2])
        to_disk.add(trials[2:])
    read = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 's.db'}").trials
    assert [trial.number for trial in read] == list(range(8))
    for before, after in zip(trials, read, strict=True):
        for name in (
            "state",
            "params",
            "distributions",
            "user_attrs",
            "system_attrs",
            "constraints",
            "intermediate_values",
        ):
            assert getattr(after, name) == getattr(before, name)
        assert (after.datetime_start, after.datetime_complete) == (before.datetime_start, before.datetime_complete)
    assert read[0].values == [0.5, 1e-3]


def test_reports_that_are_not_finite_are_read_as_they_were(tmp_path: Path) -> None:
    reports = {1: 0.5, 2: math.nan, 3: math.inf, 4: -math.inf}
    with open_study(tmp_path / "s.db", {"loss": "minimize"}, "d") as to_disk:
        to_disk.add([create_trial(state=TrialState.PRUNED, intermediate_values=reports, user_attrs={"key": "x"})])
        [ours] = to_disk.stored()
    [theirs] = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 's.db'}").trials
    for trial in (ours, theirs):
        assert trial.intermediate_values == pytest.approx(reports, nan_ok=True)


def test_a_database_that_cannot_be_written_is_a_user_error(run: Run) -> None:
    with open_study(run.study, {"accuracy": "maximize"}, "d") as to_disk:
        assert to_disk.rows is not None
        with sqlite3.connect(run.study) as other:
            other.execute("drop table trial_params")
        other.close()
        trial = create_trial(
            value=1.0, params={"a": 1}, distributions={"a": optuna.distributions.CategoricalDistribution((1, 2))}
        )
        with pytest.raises(SweepError, match="cannot be read or written .*trial_params"):
            to_disk.add([trial])
        with sqlite3.connect(run.study) as other:
            assert other.execute("select count(*) from trials").fetchone() == (0,)  # all or nothing
        other.close()


@pytest.mark.parametrize(
    "change",
    [
        "update trial_params set param_value = 99",
        "update trial_values set value = 'abc'",
        "update trial_values set value = 1e300",
        "update trial_user_attributes set value_json = '-1e300' where key = 'n'",
        "update trials set datetime_start = '99999-01-01 00:00:00'",
        "delete from trial_values",
    ],
)
def test_damaged_rows_are_one_sentence(tmp_path: Path, change: str) -> None:
    path = tmp_path / "s.db"
    with open_study(path, {"accuracy": "maximize", "latency_ms": "minimize"}, "d") as to_disk:
        to_disk.add([*finished_trials()])
        with sqlite3.connect(path) as other:
            other.execute(change)
        other.close()
        with pytest.raises(SweepError, match="the study is damaged"):
            list(to_disk.stored())


def test_damage_that_optuna_meets_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with open_study(path, {"accuracy": "maximize"}, "d"):
        pass
    with sqlite3.connect(path) as other:
        other.execute("update study_directions set direction = 'true'")
    other.close()
    with pytest.raises(SweepError, match="the study is damaged .LookupError 'true' is not among"):
        list(read_records(path))
