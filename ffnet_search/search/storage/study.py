"""The study on disk, opened for one search, or read. It holds finished trials alone, each added whole."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import optuna
import sqlalchemy as sa
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from ffnet_search.config.files import RunPaths
from ffnet_search.errors import SweepError
from ffnet_search.formatting import quoted
from ffnet_search.metrics import Direction
from ffnet_search.pareto.candidate import Candidate
from ffnet_search.search.storage.damage import RESTORE, database_errors
from ffnet_search.search.storage.read_only import readable_study
from ffnet_search.search.storage.trial_reader import stream
from ffnet_search.search.storage.trial_record import TrialRecord
from ffnet_search.search.storage.trial_writer import TrialWriter
from ffnet_search.space.search_space import SearchSpace

NAME = "search"  # of the study in its file


@contextmanager
def open_study(path: Path, objectives: Mapping[str, Direction], digest: str) -> Iterator[TrialWriter]:
    """The study at `path`, created where there is none, for writing.

    `digest` names all that its results depend on. Raises SweepError, and changes nothing, where the file is broken, is
    no study, or holds another search."""
    with _opened(path) as storage:
        with database_errors(path):
            study = _find_study(storage, path, objectives, digest)
            sa.event.listen(storage.engine, "connect", _write_ahead)  # the study is of this search
            storage.engine.dispose()  # closes the connections that were made before
            writer = TrialWriter(study, storage, path)
        yield writer


def study_url(path: Path) -> str:
    """The URL of a study's file, for Optuna: its name may hold any character."""
    return sa.URL.create("sqlite", database=str(path)).render_as_string()


@contextmanager
def _opened(path: Path) -> Iterator[RDBStorage]:
    """The storage in the file. At the end its log is merged, so that a copy of the file holds the study."""
    _check_file(path)
    with quiet_optuna():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.touch()  # with the mode that the umask gives: SQLite would let no group write
            with database_errors(path):
                storage = RDBStorage(study_url(path))
        except OSError as error:
            raise SweepError(f"{path}: the study cannot be written: {error}") from None
        except RuntimeError as error:  # what Optuna raises for the tables of another version
            raise SweepError(f"{path}: must be a study of this version of Optuna, but: {error}") from error
        try:
            yield storage
        finally:
            storage.engine.dispose()
            with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as connection:  # unless another reads it
                connection.execute("pragma journal_mode = delete")


def _write_ahead(connection: sqlite3.Connection, record: object) -> None:
    """Write to a log instead of waiting for the disk at each trial (0.1 instead of 1 to 20 ms): a power cut may lose
    the last trials, but not the file."""
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")


def _find_study(storage: RDBStorage, path: Path, objectives: Mapping[str, Direction], digest: str) -> optuna.Study:
    names = optuna.get_all_study_names(storage)
    if names not in ([], [NAME]):
        raise SweepError(f"{path}: must hold the study {NAME!r} alone, but holds {', '.join(names)}; move it away")
    if names:
        study = optuna.load_study(storage=storage, study_name=NAME)
        stored = study.user_attrs.get("digest")
        if stored == digest:
            return study
        if study.get_trials(deepcopy=False):
            raise SweepError(
                f"{path}: must be of this search ({digest}), but is of another ({stored or 'not named'}): its space, "
                "objectives, constraints, data, supernet or latency table are not the same; move the file away to begin"
            )
        optuna.delete_study(storage=storage, study_name=NAME)  # nothing is lost
    return new_study(storage, NAME, objectives, digest)


def new_study(storage: RDBStorage, name: str, objectives: Mapping[str, Direction], digest: str) -> optuna.Study:
    """An empty study with the digest of its search."""
    study = optuna.create_study(storage=storage, study_name=name, directions=list(objectives.values()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # names on the dashboard's axes, no more
        study.set_metric_names(list(objectives))
    study.set_user_attr("digest", digest)  # last: a study with a digest is complete
    return study


def _check_file(path: Path) -> None:
    """Raise SweepError if a file is no study. Optuna would create its tables in any SQLite file."""
    if not path.exists():
        return
    if not path.is_file():
        raise SweepError(f"{path}: must be an Optuna study in SQLite, but is no file; move it away")
    what_to_do = RESTORE
    try:
        # Not read-only: SQLite rolls back an interrupted transaction.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            tables = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
            health = connection.execute("pragma quick_check(1)").fetchone()[0]
            is_optunas = not tables or {"studies", "version_info"} & tables
    except (sqlite3.Error, ValueError) as error:
        if "locked" in str(error):  # it is whole
            what_to_do = "close the program that has it open, and give the same command again"
        raise SweepError(
            f"{path}: must be an Optuna study in SQLite, but cannot be read: {error}; {what_to_do}"
        ) from None
    if health != "ok":
        raise SweepError(f"{path}: the study is damaged ({' '.join(health.split())}); {what_to_do}")
    if not is_optunas:
        raise SweepError(f"{path}: must be an Optuna study, but holds the tables {sorted(tables)}; move it away")


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Silence Optuna's log of studies and trials: the progress bar shows them."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def read_candidates(path: Path, space: SearchSpace) -> list[Candidate]:
    """The candidates of a study that keep all constraints, in the order of their evaluation. Raises SweepError as
    `read_trials`."""
    records = (record for record in read_records(path) if record.state == "evaluated" and record.is_feasible)
    return [record.candidate(space) for record in records]


def read_records(path: Path, command: str = "") -> Iterator[TrialRecord]:
    """The trials of a study as records, in their order. Raises SweepError as `read_trials`."""
    return map(TrialRecord.from_trial, read_trials(path, command))


def read_reference(path: Path) -> dict[str, float]:
    """Objective -> the worst value that was of interest to the sampler; empty if it had no such point. Raises
    SweepError if the study is missing or broken."""
    with readable_study(path) as place, _opened(place) as storage, database_errors(path):
        found = storage.get_study_user_attrs(storage.get_study_id_from_name(NAME)).get("reference", {})
        return {name: float(value) for name, value in found.items()}


def read_trials(path: Path, command: str = "") -> Iterator[FrozenTrial]:
    """The trials of a study in their order, few of them in memory at once. Raises SweepError if there is none, which
    advises the `command` that makes it."""
    if not path.exists():
        there = RunPaths(path.parent).sweep.exists()
        make = command or f"ffnet-search run {quoted(path.parent) if there else 'SWEEP'}"
        raise SweepError(f"{path}: no such study; run `{make}` first")
    with readable_study(path) as place, _opened(place) as storage, database_errors(path):
        if NAME not in optuna.get_all_study_names(storage):
            again = f"run `ffnet-search search {quoted(path.parent)}` again"
            raise SweepError(f"{path}: must hold the study {NAME!r}, but does not; {again}")
        yield from stream(storage, storage.get_study_id_from_name(NAME))
