"""The files of a search: the study on disk, broken and foreign files, the table of its trials."""

from __future__ import annotations

import csv
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from searches import DIGITS, Accuracy, Run, architecture_of, search

from ffnet_search.errors import SweepError
from ffnet_search.evaluation.outcome import Report, Stopped
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.search.storage.study import open_study, read_trials
from ffnet_search.space.hyperparameters import Configuration


def test_the_table_holds_every_architecture_that_was_proposed(run: Run) -> None:
    run.broken = {DIGITS.smallest.key: float("nan")}
    run.search(trials=20, constraints={"latency_ms": 0.03})
    with run.csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["key"] for row in rows}) == len(rows) == len(run.on_disk.trials)
    assert Counter(row["state"] for row in rows)["evaluated"] == 19
    assert {(row["state"], row["feasible"]) for row in rows} == {
        ("evaluated", "true"),
        ("failed", "true"),
        ("infeasible", "false"),
    }
    for row, trial in zip(rows, run.on_disk.trials, strict=True):
        arch = architecture_of(trial)
        assert (row["key"], row["architecture"], int(row["trial"])) == (arch.key, str(arch), trial.number)
        assert float(row["macs_m"]) == arch.macs_m
        assert bool(row["accuracy"]) == (row["state"] == "evaluated")
        assert bool(row["reason"]) == (row["state"] == "failed")


def spoil_text(path: Path) -> None:
    path.write_text("this is not a database, but it is long enough to be looked at" * 20)


def spoil_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[8192:40960] = b"\xff" * (40960 - 8192)
    path.write_bytes(data)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20000])


def foreign_tables(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("create table photos (name text)")
    connection.close()


def other_study(path: Path) -> None:
    path.unlink()
    optuna.create_study(study_name="mine", storage=f"sqlite:///{path}")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [spoil_text, spoil_middle, cut_short, foreign_tables, other_study, a_folder])
def test_a_broken_or_foreign_file_is_refused_and_left_alone(run: Run, spoil: Any) -> None:
    run.search(trials=3)
    spoil(run.study)
    before = run.study.read_bytes() if run.study.is_file() else None
    with pytest.raises(SweepError, match=r"study\.db: "):
        run.search(trials=4)
    assert (run.study.read_bytes() if run.study.is_file() else None) == before
    assert len(run.evaluated) == 3


def test_a_study_of_another_search_is_refused(run: Run) -> None:
    run.search(trials=3)
    run.digest = "e"
    with pytest.raises(SweepError, match=r"must be of this search \(e\), but is of another \(d\)"):
        run.search(trials=4)
    assert len(run.on_disk.trials) == 3


def test_what_a_kill_left_of_a_new_file_is_used(run: Run) -> None:
    run.study.touch()
    assert len(run.search(trials=3)) == 3
    half = Run(run.folder / "half")
    half.folder.mkdir()
    optuna.create_study(study_name="search", storage=f"sqlite:///{half.study}", directions=["minimize"])
    assert len(half.search(trials=3)) == 3


def test_an_empty_study_of_another_search_is_replaced(run: Run) -> None:
    """As of a search on a damaged checkpoint, which was put back."""
    with open_study(run.study, {"accuracy": "maximize", "latency_ms": "minimize"}, "another"):
        pass
    assert len(run.search(trials=3)) == 3


def test_a_study_that_another_program_changed_is_refused(run: Run) -> None:
    evaluate = Accuracy(run.folder / "log")

    def meddling(configuration: Configuration, report: Report) -> Candidate | Stopped:
        candidate = evaluate(configuration, report)
        if len(run.evaluated) == 4:
            with closing(sqlite3.connect(run.study)) as connection:
                connection.execute("update trials set state = 'FAIL'")
                connection.commit()
        return candidate

    with pytest.raises(
        SweepError, match="must hold each of the 6 candidates that were evaluated once, but holds 3: an"
    ):
        search(run.problem(trials=6), lambda: meddling, run.folder)


def test_a_table_that_cannot_be_written_is_a_user_error(run: Run) -> None:
    run.csv.mkdir()
    with pytest.raises(SweepError, match=r"candidates\.csv: cannot be written: "):
        run.search(trials=3)
    assert len(run.on_disk.trials) == 3


def test_a_finished_search_is_one_file_and_its_table(run: Run) -> None:
    run.search(trials=3)
    assert sorted(path.name for path in run.folder.iterdir()) == ["candidates.csv", "log", "study.db"]


def test_a_study_that_another_program_has_locked_is_not_called_broken(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "study.db", isolation_level=None)) as other:
        other.execute("create table studies (id integer)")
        other.execute("begin exclusive")
        with pytest.raises(SweepError, match="database is locked; close the program that has it open, and give"):
            list(read_trials(tmp_path / "study.db"))
