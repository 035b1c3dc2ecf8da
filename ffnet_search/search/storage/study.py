"""The study on disk, and the one in memory that the sampler works on.

Only finished trials are ever on disk, each added whole, so a kill can leave none RUNNING and none half written. On
resume they are put into a new study in memory. What each trial is, for people and for `Candidate`s, is in its user
attributes: key, architecture, origin, metrics, stopped, reason.
"""

from __future__ import annotations

import csv
import os
import sqlite3
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import event

from ffnet_search.errors import SweepError
from ffnet_search.evaluation.schedule import final_hyperparameters, schedule_of
from ffnet_search.metrics import Direction
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.search.storage.reader import stream
from ffnet_search.search.storage.sqlite_rows import TrialWriter, database_errors
from ffnet_search.space.configuration import Configuration, Value
from ffnet_search.space.hyperparameters import Hyperparameter, settle
from ffnet_search.space.registry import known_metrics
from ffnet_search.space.search_space import SearchSpace

NAME = "search"  # of the study in its file
# State of a trial as people read it. What Optuna calls pruned is two things, neither of which may be on a front. An
# infeasible architecture is never evaluated, so it has no values: TPE learns from its constraints. A stopped trial has
# trained for some epochs: its attributes are how many, and its last metrics. See `proposer`.
STATES = {TrialState.COMPLETE: "evaluated", TrialState.PRUNED: "infeasible", TrialState.FAIL: "failed"}


def state_of(trial: FrozenTrial) -> str:
    """evaluated, infeasible, stopped or failed."""
    return "stopped" if "stopped" in trial.user_attrs else STATES[trial.state]


@contextmanager
def open_study(
    path: Path, objectives: Mapping[str, Direction], digest: str
) -> Iterator[tuple[TrialWriter, list[FrozenTrial]]]:
    """The study at `path`, made where there is none: a writer, and the trials that are in it.

    Raises SweepError, and changes nothing, where the file is broken, is of something else, or holds another search
    (`digest`: of all that its results depend on).
    """
    _must_be_a_study(path)
    with quiet_optuna():
        storage = _open_storage(path)
        try:
            with database_errors(path):
                study = _our_study(storage, path, objectives, digest)
                event.listen(storage.engine, "connect", _write_ahead)  # now that it is known to be ours
                storage.engine.dispose()  # closes the connections that were made before
                finished = [trial for trial in stream(storage, study._study_id) if trial.state.is_finished()]
                writer = TrialWriter(study, storage, path)
            try:
                yield writer, finished
            finally:
                storage.engine.dispose()
                _one_file_again(path)
        finally:
            storage.engine.dispose()


def _open_storage(path: Path) -> RDBStorage:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with database_errors(path):
            return RDBStorage(f"sqlite:///{path}")
    except OSError as error:
        raise SweepError(f"{path}: the study cannot be written: {error}") from None
    except RuntimeError as error:  # what Optuna raises for the tables of another version
        raise SweepError(f"{path}: must be a study of this version of Optuna, but: {error}") from error


def _write_ahead(connection: sqlite3.Connection, record: object) -> None:
    """A log in place of a wait for the disk at each trial (0.1 instead of 1 to 20 ms). A kill loses nothing that was
    written; a power cut may lose the last trials, but not the file."""
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")


def _one_file_again(path: Path) -> None:
    """Closes the log, so that copying the file copies the study; not while somebody else has it open."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode = delete")


def _our_study(storage: RDBStorage, path: Path, objectives: Mapping[str, Direction], digest: str) -> optuna.Study:
    names = optuna.get_all_study_names(storage)
    if names not in ([], [NAME]):
        raise SweepError(f"{path}: must hold the study {NAME!r} alone, but holds {', '.join(names)}; move it away")
    if names:
        study = optuna.load_study(storage=storage, study_name=NAME)
        found = study.user_attrs.get("digest")
        if found == digest:
            return study
        if found is not None or study.get_trials(deepcopy=False):
            raise SweepError(
                f"{path}: must be of this search ({digest}), but is of another ({found}): its space, objectives, "
                "constraints, data, supernet or latency table are not the same; move the file away to search anew"
            )
        optuna.delete_study(storage=storage, study_name=NAME)  # a kill came between its making and its digest
    return new_study(storage, NAME, objectives, digest)


def new_study(storage: RDBStorage, name: str, objectives: Mapping[str, Direction], digest: str) -> optuna.Study:
    """An empty study that says what search it is of."""
    study = optuna.create_study(storage=storage, study_name=name, directions=list(objectives.values()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # names on the dashboard's axes, no more
        study.set_metric_names(list(objectives))
    study.set_user_attr("digest", digest)  # last: what has it is whole
    return study


def _must_be_a_study(path: Path) -> None:
    """Looks before Optuna does, which would make its tables in any SQLite file."""
    if not path.exists():
        return
    what_to_do = "restore it, or move it away to search anew"
    try:
        # Not read-only: what a kill left half written in a journal must be rolled back, which SQLite does by itself.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            tables = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
            health = connection.execute("pragma quick_check(1)").fetchone()[0]
            is_optunas = not tables or {"studies", "version_info"} & tables
    except sqlite3.Error as error:
        raise SweepError(
            f"{path}: must be an Optuna study in SQLite, but cannot be read: {error}; {what_to_do}"
        ) from None
    if health != "ok":
        raise SweepError(f"{path}: the study is damaged ({' '.join(health.split())}); {what_to_do}")
    if not is_optunas:
        raise SweepError(f"{path}: must be an Optuna study, but holds the tables {sorted(tables)}; move it away")


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Its log tells of studies created and trials told, which is the progress bar's business."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def distributions(space: SearchSpace) -> dict[str, CategoricalDistribution]:
    """The axes of architectures on which there is something to choose."""
    return {name: CategoricalDistribution(values) for name, values in space.axes().items() if len(values) > 1}


def configuration_of(space: SearchSpace, params: Mapping[str, Any]) -> Configuration:
    """What a trial's parameters stand for."""
    choices = {name: params.get(name, values[0]) for name, values in space.axes().items()}
    hyperparameters = settle(space.hyperparameters, lambda name, one: params[name])
    return Configuration(space.build(choices) if space.has_network else None, hyperparameters)


def params_of(space: SearchSpace, configuration: Configuration) -> dict[str, Any]:
    """The inverse of `configuration_of`. Raises ValueError where its architecture is not in the space."""
    if configuration.architecture is None:
        return dict(configuration.hyperparameters)
    axes = space.axes()
    choices = space.choices_of(configuration.architecture)
    return {name: value for name, value in choices.items() if len(axes[name]) > 1} | dict(configuration.hyperparameters)


def suggest(trial: Trial, name: str, one: Hyperparameter) -> Value:
    """A value of a hyper-parameter, by the sampler. Asked one by one: which ones there are depends on those before."""
    if one.choices is not None:
        choice: Value = trial.suggest_categorical(name, one.choices)
        return choice
    low, high = one.range
    if one.kind == "int":
        return trial.suggest_int(name, low, high, step=int(one.step or 1), log=one.log)
    return trial.suggest_float(name, low, high, step=one.step, log=one.log)


def metrics_of(trial: FrozenTrial) -> dict[str, float]:
    """Of its attributes those that are floats: no others are."""
    return {name: value for name, value in trial.user_attrs.items() if isinstance(value, float)}


def reports_of(trial: FrozenTrial) -> dict[int, dict[str, float]]:
    """Epoch -> what was reported after it."""
    return {int(epoch): metrics for epoch, metrics in trial.user_attrs.get("reports", {}).items()}


def trained_with(trial: FrozenTrial) -> Mapping[str, Any]:
    """Its parameters as they were in the end."""
    return {**trial.params, **final_hyperparameters(schedule_of(trial.user_attrs.get("record", {})), {})}


def metric_columns(trial: FrozenTrial) -> list[str]:
    """Names of what not every trial tells: its metrics, and that it has a schedule."""
    return [*metrics_of(trial), *({"schedule"} & trial.user_attrs.keys())]


def candidate_of(space: SearchSpace, trial: FrozenTrial) -> Candidate:
    """What an evaluated trial says of its configuration."""
    configuration = configuration_of(space, trial.params)
    record, proposed = trial.user_attrs.get("record", {}), configuration.hyperparameters
    final = final_hyperparameters(schedule_of(record), proposed)
    return Candidate(configuration.architecture, metrics_of(trial), proposed, record, final)


def read_candidates(path: Path, space: SearchSpace) -> list[Candidate]:
    """The evaluated architectures of a study, all feasible, in the order in which they were. Raises SweepError where
    the file is missing, broken, or no study of this program."""
    return [candidate_of(space, trial) for trial in stream_trials(path) if trial.state == TrialState.COMPLETE]


def read_evaluated(path: Path, space: SearchSpace) -> dict[str, tuple[int, Candidate]]:
    """The same by their keys, each with its trial's id in the study's storage."""
    evaluated = (trial for trial in read_trials(path) if trial.state == TrialState.COMPLETE)
    return {str(trial.user_attrs.get("key")): (trial._trial_id, candidate_of(space, trial)) for trial in evaluated}


def read_trials(path: Path) -> list[FrozenTrial]:
    """All trials of a study, in their order. Raises SweepError as `read_candidates` does."""
    return list(stream_trials(path))


def stream_trials(path: Path) -> Iterator[FrozenTrial]:
    """The same, some at a time."""
    if not path.exists():
        raise SweepError(f"{path}: no such study; run `ffnet-search search` first")
    _must_be_a_study(path)
    with quiet_optuna(), database_errors(path):
        storage = _open_storage(path)
        try:
            if NAME not in optuna.get_all_study_names(storage):
                raise SweepError(f"{path}: must hold the study {NAME!r}, but does not; run `ffnet-search search` again")
            yield from stream(storage, storage.get_study_id_from_name(NAME))
        finally:
            storage.engine.dispose()
            _one_file_again(path)


def write_candidates(path: Path, trials: Iterable[FrozenTrial], told: Collection[str], space: SearchSpace) -> None:
    """All trials as CSV, with the hyper-parameters that they ended with; the file is replaced whole. `told`: what
    `metric_columns` names of any of them. Raises SweepError where it cannot be written."""
    metrics = dict.fromkeys([*known_metrics(), *(name for name in told if name != "schedule")])
    columns = ["trial", "key", "state", "feasible", "origin", *metrics, "stopped", *space.hyperparameters]
    columns += ["schedule"] * ("schedule" in told) + ["reason", "architecture"]
    scratch = path.with_name(f"{path.name}.tmp")
    try:
        with scratch.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
            table.writeheader()
            for number, trial in enumerate(trials):
                feasible = all(value <= 0 for value in trial.constraints.values())
                state = state_of(trial)
                found = {**trained_with(trial), **trial.user_attrs}
                table.writerow({**found, "trial": number, "state": state, "feasible": str(feasible).lower()})
        os.replace(scratch, path)
    except OSError as error:
        raise SweepError(f"{path}: cannot be written: {error}") from None
