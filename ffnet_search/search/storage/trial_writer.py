"""Trials of a study on disk, written in bulk as the rows of Optuna's tables.

`Study.add_trial` queries the database for each parameter first: 28 ms for a trial of 44 parameters in SQLite against
2 ms here. Where Optuna reads rows back differently, which each writer checks in memory, `add_trials` is used.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.distributions import CategoricalDistribution, distribution_to_json
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from ffnet_search.search.storage.damage import database_errors
from ffnet_search.search.storage.trial_reader import DETAILS, stream

TABLES = ("trials", *(f"trial_{name}" for name in DETAILS))
# Notes of a sampler on a pending trial: of no use once it has finished, and as long as all parameters.
SCRATCH = ("tpe:relative_params", "gp:relative_params")
_distribution_json = lru_cache(maxsize=1024)(distribution_to_json)


class TrialWriter:
    """Adds finished trials to `study`, which lies in `storage`; then to its copy, where there is one.

    `path` names the storage in errors. `rows` is None if Optuna's schema is not the one that is known here."""

    def __init__(self, study: optuna.Study, storage: RDBStorage, path: Path | str) -> None:
        self.study, self.storage, self.path = study, storage, path
        self.copy: TrialWriter | None = None
        self.study_id = storage.get_study_id_from_name(study.study_name)
        self.rows = TrialRows(storage, self.study_id) if rows_are_right() else None

    def add(self, trials: Sequence[FrozenTrial]) -> None:
        """Add all trials or, where the process is killed, none. Raises SweepError if the database refuses."""
        with database_errors(self.path):
            if self.rows:
                self.rows.add(trials)
            else:
                self.study.add_trials(trials)
        if self.copy is not None:
            self.copy.add(trials)

    def stored(self, params: Collection[str] | None = None) -> Iterator[FrozenTrial]:
        """See `stream`."""
        with database_errors(self.path):
            yield from stream(self.storage, self.study_id, params)

    def attribute_names(self) -> list[str]:
        """The names of the trials' user attributes, in the order in which they first appear."""
        query = sa.text(
            "select key from trial_user_attributes where trial_id in "
            "(select trial_id from trials where study_id = :study) "
            "group by key order by min(trial_user_attribute_id)"
        )
        with database_errors(self.path), self.storage.engine.connect() as connection:
            return [key for (key,) in connection.execute(query, {"study": self.study_id})]


class TrialRows:
    """Trials as rows of the tables of Optuna's schema (optuna/storages/_rdb/models.py)."""

    def __init__(self, storage: RDBStorage, study_id: int) -> None:
        self.engine, self.study_id = storage.engine, study_id
        metadata = sa.MetaData()
        metadata.reflect(self.engine, only=TABLES)
        self.inserts = {name: sa.insert(metadata.tables[name]) for name in TABLES}
        trials = metadata.tables["trials"]
        self.count = sa.select(sa.func.count()).select_from(trials).where(trials.c.study_id == study_id)

    def add(self, trials: Sequence[FrozenTrial]) -> None:
        rows: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        with self.engine.begin() as connection:
            first = connection.execute(self.count).scalar_one()
            for number, trial in enumerate(trials, first):
                head = {
                    "number": number,
                    "study_id": self.study_id,
                    "state": trial.state.name,
                    "datetime_start": _utc(trial.datetime_start),
                    "datetime_complete": _utc(trial.datetime_complete),
                }
                trial_id = connection.execute(self.inserts["trials"], head).inserted_primary_key[0]
                for name, row in _detail_rows(trial):
                    rows[name].append({"trial_id": trial_id, **row})
            for name, table_rows in rows.items():
                connection.execute(self.inserts[name], table_rows)


def _stored(value: float) -> tuple[float | None, str]:
    """A number as Optuna's rows hold it: what is not finite is a type without a value."""
    if math.isfinite(value):
        return value, "FINITE"
    if math.isnan(value):
        return None, "NAN"
    return None, "INF_POS" if value > 0 else "INF_NEG"


def _detail_rows(trial: FrozenTrial) -> Iterable[tuple[str, dict[str, Any]]]:
    for objective, value in enumerate(trial.values or ()):
        number, kind = _stored(value)
        yield "trial_values", {"objective": objective, "value": number, "value_type": kind}
    for step, value in trial.intermediate_values.items():
        number, kind = _stored(value)
        row = {"step": step, "intermediate_value": number, "intermediate_value_type": kind}
        yield "trial_intermediate_values", row
    for name, value in trial.params.items():
        distribution = trial.distributions[name]
        internal, text = distribution.to_internal_repr(value), _distribution_json(distribution)
        yield "trial_params", {"param_name": name, "param_value": internal, "distribution_json": text}
    for key, value in trial.user_attrs.items():
        yield "trial_user_attributes", {"key": key, "value_json": json.dumps(value)}
    for key, value in trial.system_attrs.items():
        if not key.startswith(SCRATCH):
            yield "trial_system_attributes", {"key": key, "value_json": json.dumps(value)}


def _utc(local: datetime | None) -> datetime | None:
    return None if local is None else local.astimezone(timezone.utc).replace(tzinfo=None)


@lru_cache(maxsize=1)
def rows_are_right() -> bool:
    """True if this version of Optuna reads the same from rows as after `add_trials`."""
    choices = {"a": CategoricalDistribution((3, 5, 7)), "b": CategoricalDistribution(("pool", "attention"))}
    params: dict[str, Any] = {"a": 5, "b": "attention"}
    common: dict[str, Any] = {"params": params, "distributions": choices, "user_attrs": {"key": "x"}}
    trials = [
        create_trial(values=[0.5, 2.0], constraints={"macs_m": -0.5}, system_attrs={"n": 1}, **common),
        create_trial(state=TrialState.PRUNED, constraints={"macs_m": 0.5}, **common),
        create_trial(state=TrialState.PRUNED, intermediate_values={3: 0.25, 4: math.inf, 5: -math.inf}, **common),
        create_trial(state=TrialState.FAIL, **common),
    ]
    storage = RDBStorage("sqlite://")
    try:
        studies = [
            optuna.create_study(storage=storage, study_name=name, directions=["maximize", "minimize"])
            for name in ("rows", "trials")
        ]
        TrialRows(storage, storage.get_study_id_from_name("rows")).add(trials)
        studies[1].add_trials(trials)
        rows, expected = ([_content(trial) for trial in study.trials] for study in studies)
        return rows == expected
    except (sa.exc.SQLAlchemyError, KeyError):  # another schema
        return False
    finally:
        storage.engine.dispose()


def _content(trial: FrozenTrial) -> tuple[object, ...]:
    values = trial.values if trial.state == TrialState.COMPLETE else None
    head = trial.number, trial.state, values, trial.constraints, trial.datetime_start, trial.datetime_complete
    return (*head, trial.intermediate_values, trial.params, trial.distributions, trial.user_attrs, trial.system_attrs)
