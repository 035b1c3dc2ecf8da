"""The copy of a study in a database on the network: PostgreSQL, or any other that Optuna opens by URL.

`search.storage` names it. It gets each trial after the file, and returns them where the run's folder was lost with its
machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import optuna
import sqlalchemy as sa
from optuna.storages import RDBStorage

from ffnet_search.errors import SweepError
from ffnet_search.metrics import Direction
from ffnet_search.search.storage.damage import database_errors
from ffnet_search.search.storage.study import new_study
from ffnet_search.search.storage.trial_record import TrialRecord
from ffnet_search.search.storage.trial_writer import TrialWriter

PATIENCE_S = 10  # for a server to answer
DRIVERS = {"postgresql": "postgresql+psycopg"}  # SQLAlchemy's default is another one


@contextmanager
def copied(
    writer: TrialWriter, url: str | None, name: str, objectives: Mapping[str, Direction], digest: str
) -> Iterator[None]:
    """Copy what `writer` adds to the study `name` at `url`, where there is a URL; first each gets the trials that the
    other has alone. Raises SweepError if the database does not answer, or holds another search of this name."""
    if url is None:
        yield
        return
    storage, where = _open_database(url)
    try:
        with database_errors(where):
            if name in optuna.get_all_study_names(storage):
                study = optuna.load_study(storage=storage, study_name=name)
            else:
                study = new_study(storage, name, objectives, digest)
            stored = study.user_attrs.get("digest")
            if stored != digest:
                raise SweepError(
                    f"search.storage: the study {name!r} in {where} must be of this search ({digest}), but is of "
                    f"another ({stored or 'not named'}); give the run another name with --name, or delete that study"
                )
            there = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
        here = list(writer.stored())
        for ours, theirs in zip(here, there, strict=False):
            if TrialRecord.from_trial(ours).key != TrialRecord.from_trial(theirs).key:
                raise SweepError(
                    f"search.storage: the study {name!r} in {where} and {writer.path} must begin with the same trials, "
                    "but do not; give the run another name with --name, or delete the one that is not wanted"
                )
        with database_errors(where):
            copy = TrialWriter(study, storage, where)
        copy.add(here[len(there) :])
        writer.add(there[len(here) :])
        writer.copy = copy
        yield
    finally:
        writer.copy = None
        storage.remove_session()
        storage.engine.dispose()


def _open_database(url: str) -> tuple[RDBStorage, str]:
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
