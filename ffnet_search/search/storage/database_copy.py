"""A copy of the study in a database that others can reach: PostgreSQL, or what else Optuna opens by URL.

The file in the run's folder stays the study. The copy gets each trial after it, and gives them back where the folder
was lost with its machine. One process writes both: the one that holds the run's lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import optuna
import sqlalchemy as sa
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from ffnet_search.errors import SweepError
from ffnet_search.metrics import Direction
from ffnet_search.search.storage.sqlite_rows import TrialWriter, database_errors
from ffnet_search.search.storage.study import new_study

PATIENCE_S = 10  # for a server to answer
DRIVERS = {"postgresql": "postgresql+psycopg"}  # which SQLAlchemy would take for another one


@contextmanager
def copied(
    writer: TrialWriter,
    finished: list[FrozenTrial],
    url: str | None,
    name: str,
    objectives: Mapping[str, Direction],
    digest: str,
) -> Iterator[None]:
    """Meanwhile what `writer` adds goes to the study `name` at `url` too. Both are brought to the same state first:
    each gets what the other one has alone (`finished` grows). Raises SweepError where the database does not answer, or
    holds another search of this name."""
    if url is None:
        yield
        return
    storage, where = _open(url)
    try:
        with database_errors(where):
            study = _study(storage, where, name, objectives, digest)
            there = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
        pairs = zip(finished, there, strict=False)
        if any(ours.user_attrs.get("key") != theirs.user_attrs.get("key") for ours, theirs in pairs):
            raise SweepError(
                f"search.storage: the study {name!r} in {where} and {writer.path} must begin with the same trials, but "
                "do not; give the run another name with --name, or delete the one that is not wanted"
            )
        copy = TrialWriter(study, storage, where)
        missing, lost = finished[len(there) :], there[len(finished) :]
        if missing:
            copy.add(missing)
        if lost:
            writer.add(lost)
            finished += lost
        writer.copy = copy
        yield
    finally:
        writer.copy = None
        storage.remove_session()
        storage.engine.dispose()


def _open(url: str) -> tuple[RDBStorage, str]:
    """The storage, and its address without the password."""
    try:
        parsed = sa.engine.make_url(url)
        where = parsed.render_as_string(hide_password=True)
        parsed = parsed.set(drivername=DRIVERS.get(parsed.drivername, parsed.drivername))
        parsed.get_dialect().import_dbapi()
        options = {"connect_args": {"connect_timeout": PATIENCE_S}} if "postgresql" in parsed.drivername else {}
        with database_errors(where):
            return RDBStorage(parsed.render_as_string(hide_password=False), engine_kwargs=options), where
    except (ImportError, sa.exc.NoSuchModuleError) as error:
        raise SweepError(
            f"search.storage: {url.partition(':')[0]} needs a driver that is not installed ({error}); for PostgreSQL: "
            "pip install 'ffnet-search[postgresql]'"
        ) from None
    except sa.exc.ArgumentError:
        raise SweepError(
            f"search.storage must be a database's URL, such as postgresql://user@host/name, but got {url!r}"
        ) from None
    except RuntimeError as error:  # what Optuna raises for the tables of another version
        raise SweepError(f"search.storage: must be a database of this version of Optuna, but: {error}") from error


def _study(
    storage: RDBStorage, where: str, name: str, objectives: Mapping[str, Direction], digest: str
) -> optuna.Study:
    if name not in optuna.get_all_study_names(storage):
        return new_study(storage, name, objectives, digest)
    study = optuna.load_study(storage=storage, study_name=name)
    found = study.user_attrs.get("digest")
    if found != digest:
        raise SweepError(
            f"search.storage: the study {name!r} in {where} must be of this search ({digest}), but is of another "
            f"({found}); give the run another name with --name, or delete that study"
        )
    return study
