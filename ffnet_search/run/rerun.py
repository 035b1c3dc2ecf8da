"""Re-run one trial of a run and compare: the metrics are equal on the same CPU with the same versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ffnet_search.config.commands import command_of
from ffnet_search.config.search_schema import POPULATION
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.outcome import Evaluate, Failed, NopPruner, Report, Stopped, run_safely
from ffnet_search.evaluation.schedule import schedule_of
from ffnet_search.files.temporary import scratch_folder
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.provenance import git_state, versions
from ffnet_search.search.storage.study import read_records
from ffnet_search.search.storage.trial_record import TrialRecord
from ffnet_search.space.hyperparameters import Configuration


@dataclass(frozen=True)
class Rerun:
    """A trial then and now.

    `metrics`: name -> (then, now). `reasons`: of the failures then and now, empty if it did not fail. `changed`:
    data, seed, git state and versions that differ, in words."""

    number: int
    configuration: Configuration
    metrics: Mapping[str, tuple[float, float]]
    reasons: tuple[str, str]
    changed: tuple[str, ...]


def rerun(run: Path, which: str) -> Rerun:
    """Re-run the trial `which`, a number or a key, of a run. The run's folder does not change.

    A trial that was stopped early stops after as many epochs, and a trial of a population follows its schedule. Raises
    SweepError if no such trial exists, if it was never evaluated, or if its schedule is not stored."""
    sweep = Sweep.of_run(run)
    record = _find(list(read_records(sweep.files.study, command_of("run", sweep))), which, sweep)
    configuration = record.configuration(sweep.search_space)
    with scratch_folder() as folder:
        outcome = run_safely(_evaluator(sweep, Path(folder), record), configuration, NopPruner())
    if isinstance(outcome, Failed):
        return Rerun(record.number, configuration, {}, (record.reason, outcome.reason), ())
    metrics = {name: (record.metrics[name], now) for name, now in outcome.metrics.items() if name in record.metrics}
    changed = changes(record.record, outcome.record) if isinstance(outcome, Candidate) else ()
    return Rerun(record.number, configuration, metrics, (record.reason, ""), tuple(changed))


def _find(records: Sequence[TrialRecord], which: str, sweep: Sweep) -> TrialRecord:
    """The record of a trial by number or key. A key of digits alone is a key. Raises SweepError."""
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
            f"{sweep.files.study}: trial {which} exceeds a limit, so it was never evaluated; choose another"
        )
    if record.state == "failed" and sweep.search.scheduler.class_path == POPULATION:
        raise SweepError(
            f"{sweep.files.study}: trial {which} failed in a population, whose schedules are stored for trials alone "
            "that were trained to the end; choose another"
        )
    return record


def _evaluator(sweep: Sweep, folder: Path, record: TrialRecord) -> Evaluate:
    if sweep.search.evaluator == "supernet":
        from ffnet_search.evaluation.inherited import Evaluator

        return Evaluator.from_sweep(sweep)
    from ffnet_search.evaluation.trained import TrialEvaluator

    trials = TrialEvaluator(sweep, git=git_state())
    schedule = schedule_of(record.record)

    def evaluate(configuration: Configuration, report: Report) -> Candidate | Stopped:
        return trials.repeat(configuration, schedule, lambda epoch, metrics: epoch != record.stopped, folder)

    return evaluate


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """The differences of two records of provenance, in words; none if one was not recorded."""
    if not before or not now:
        return
    for name in ("data", "git", "seed"):
        if before.get(name) != now.get(name):
            yield f"{name} ({before.get(name)} then, {now.get(name)} now)"
    then = before.get("versions")
    if not isinstance(then, Mapping):
        return
    for name, version in versions().items():
        if then.get(name) != version:
            yield f"{name} ({then.get(name)} then, {version} now)"
