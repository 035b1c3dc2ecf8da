"""One trial of a run again, alone, beside what it gave the first time: 0 apart on a CPU, with the same versions."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ffnet_search.config.schema import POPULATION
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.outcome import Evaluate, Failed, NopPruner, Report, Stopped, run_safely
from ffnet_search.evaluation.schedule import schedule_of
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.provenance import git_state, versions
from ffnet_search.search.storage.study import read_records
from ffnet_search.search.storage.trial_record import TrialRecord
from ffnet_search.space.configuration import Configuration


@dataclass(frozen=True)
class Rerun:
    """`metrics`: name -> (before, now). `reasons`: why it failed, before and now; empty where it did not. `changed`:
    what is not as it was then, in words."""

    number: int
    configuration: Configuration
    metrics: Mapping[str, tuple[float, float]]
    reasons: tuple[str, str]
    changed: tuple[str, ...]


def rerun(run: Path, which: str) -> Rerun:
    """Repeats trial `which`, a number or a key, of a run; nothing in the run's folder changes.

    One that was stopped early is stopped after as many epochs, and one of a population follows its schedule. Raises
    SweepError where there is no such trial, none that was ever evaluated, or one whose schedule nobody knows.
    """
    sweep = Sweep.of_run(run)
    record = _find(list(read_records(sweep.files.study)), which, sweep)
    configuration = record.configuration(sweep.search_space)
    with tempfile.TemporaryDirectory(prefix="ffnet-rerun-") as folder:
        outcome = run_safely(_evaluator(sweep, Path(folder), record), configuration, NopPruner())
    now: Mapping[str, float] = {} if isinstance(outcome, Failed) else outcome.metrics
    return Rerun(
        record.number,
        configuration,
        {name: (record.metrics[name], value) for name, value in now.items() if name in record.metrics},
        (record.reason, outcome.reason if isinstance(outcome, Failed) else ""),
        tuple(_changes(record.record, outcome.record if isinstance(outcome, Candidate) else {})),
    )


def _find(records: Sequence[TrialRecord], which: str, sweep: Sweep) -> TrialRecord:
    keys = [record.key for record in records]
    is_number = which.isdecimal() and int(which) < len(records) and which not in keys
    if not is_number and which not in keys:
        raise SweepError(
            f"{sweep.files.study}: has no trial {which!r}; give a number below {len(records)}, "
            f"or a key from {sweep.files.candidates.name}"
        )
    record = records[int(which) if is_number else keys.index(which)]
    if record.state == "infeasible":
        raise SweepError(
            f"{sweep.files.study}: trial {which} is beyond a limit, so it was never evaluated; choose another"
        )
    if record.state == "failed" and sweep.search.scheduler.class_path == POPULATION:
        raise SweepError(
            f"{sweep.files.study}: trial {which} failed in a population, which keeps the schedules of those alone that "
            "were trained to the end; choose another"
        )
    return record


def _evaluator(sweep: Sweep, folder: Path, record: TrialRecord) -> Evaluate:
    if sweep.search.evaluator == "supernet":
        from ffnet_search.evaluation.inherited import Evaluator

        return Evaluator.from_sweep(sweep)
    from ffnet_search.evaluation.trained import TrialEvaluator

    trials = TrialEvaluator(sweep, git=git_state(Path.cwd()))
    schedule = schedule_of(record.record)

    def evaluate(configuration: Configuration, report: Report) -> Candidate | Stopped:
        return trials.repeat(configuration, schedule, lambda epoch, metrics: epoch != record.stopped, folder)

    return evaluate


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if not before or not now:
        return
    for name in ("data", "git", "seed"):
        if before.get(name) != now.get(name):
            yield f"{name} ({before.get(name)} then, {now.get(name)} now)"
    for name, version in versions().items():
        if before["versions"].get(name) != version:
            yield f"{name} ({before['versions'].get(name)} then, {version} now)"
