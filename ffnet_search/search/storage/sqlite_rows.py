"""Trials of a study on disk, written and read in bulk as the rows of Optuna's tables.

`Study.add_trial` queries the database for each parameter first: 28 ms for a trial of 44 parameters in SQLite against
2 ms here. Where Optuna reads rows back differently, which each writer checks in memory, `add_trials` is used.

To read, Optuna parses every distribution of every trial twice, and builds an object per row: 5 to 9 s for 5,000 trials
of 14 parameters. Finished trials never change, so they are read once, and equal distributions share one object.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.distributions import CategoricalDistribution, distribution_to_json, json_to_distribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from ffnet_search.files.bounded import bounded_float, parse_json
from ffnet_search.search.storage.damage import DAMAGE, DamagedStudy, brief, database_errors

DETAILS = ("values", "intermediate_values", "params", "user_attributes", "system_attributes")
TABLES = ("trials", *(f"trial_{name}" for name in DETAILS))
# Notes of a sampler on a pending trial: of no use once it has finished, and as long as all parameters.
SCRATCH = ("tpe:relative_params", "gp:relative_params")
NUMBERS = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}
AT_ONCE = 500
Details = dict[int, dict[Any, Any]]
_distribution = lru_cache(maxsize=4096)(json_to_distribution)
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


class BulkStorage(RDBStorage):
    """Optuna's storage, quicker where all trials of a study are read: finished ones are kept after the first time."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._finished: dict[int, list[FrozenTrial]] = defaultdict(list)  # by study, up to the first that is not

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """All trials in their order, or those in `states`. Raises KeyError if there is no such study."""
        self.get_study_name_from_id(study_id)  # raises KeyError
        finished = self._finished[study_id]
        new = _read(self.engine, study_id, trial_id(finished[-1]) if finished else -1)
        trials = [*finished, *new]
        finished += itertools.takewhile(lambda trial: trial.state.is_finished(), new)
        if states is not None:
            trials = [trial for trial in trials if trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials


def stream(storage: RDBStorage, study_id: int, params: Collection[str] | None = None) -> Iterator[FrozenTrial]:
    """All trials of a study in their order, few of them in memory at once; with all or with these parameters."""
    last = -1
    while trials := _read(storage.engine, study_id, last, AT_ONCE, params):
        yield from trials
        last = trial_id(trials[-1])


def trial_id(trial: FrozenTrial) -> int:
    """The id of a trial in its storage."""
    return int(trial._trial_id)


def _read(
    engine: sa.Engine, study_id: int, after: int, at_most: int | None = None, params: Collection[str] | None = None
) -> list[FrozenTrial]:
    """The trials with ids greater than `after`, at most so many."""
    ids = f"select trial_id from trials where study_id = {study_id:d} and trial_id > {after:d} order by trial_id"
    if at_most is not None:
        ids += f" limit {at_most:d}"
    with engine.connect() as connection:
        try:
            return _Batch(connection, ids).trials(params)
        except DAMAGE as error:
            raise DamagedStudy(f"a trial cannot be read: {brief(error)}") from error


@dataclass(frozen=True)
class _Batch:
    """The trials whose ids a query selects, read table by table."""

    connection: sa.Connection
    ids: str

    def trials(self, names: Collection[str] | None) -> list[FrozenTrial]:
        values = self._details("objective, value, value_type", "values", "objective", _number)
        step = "step, intermediate_value, intermediate_value_type"
        reports = self._details(step, "intermediate_values", "trial_intermediate_value_id", _number)
        params: Details = defaultdict(dict)
        distributions: Details = defaultdict(dict)
        columns = "trial_id, param_name, distribution_json, param_value"
        for id, name, text, value in self._rows(columns, "trial_params", "param_id", names):
            distributions[id][name] = distribution = _distribution(text)
            params[id][name] = distribution.to_external_repr(value)
        user = self._details("key, value_json", "user_attributes", "trial_user_attribute_id", parse_json)
        system = self._details("key, value_json", "system_attributes", "trial_system_attribute_id", parse_json)
        head = "trial_id, number, state, datetime_start, datetime_complete"
        trials = [
            FrozenTrial(
                number=number,
                state=TrialState[state],
                value=None,
                values=list(values[id].values()) or None,
                datetime_start=_time(start),
                datetime_complete=_time(end),
                params=params[id],
                distributions=distributions[id],
                user_attrs=user[id],
                system_attrs=system[id],
                intermediate_values=reports[id],
                trial_id=id,
            )
            for id, number, state, start, end in self._rows(head, "trials", "number")
        ]
        for trial in trials:
            if trial.state == TrialState.COMPLETE and not trial.values:
                raise ValueError(f"trial {trial.number} is complete without values")
        return trials

    def _details(self, columns: str, table: str, order: str, value: Callable[..., Any]) -> Details:
        """Trial -> the first of `columns` -> `value` of the others."""
        details: Details = defaultdict(dict)
        for id, key, *rest in self._rows(f"trial_id, {columns}", f"trial_{table}", order):
            details[id][key] = value(*rest)
        return details

    def _rows(self, columns: str, table: str, order: str, names: Collection[str] | None = None) -> Any:
        where = f"trial_id in ({self.ids})"
        if names is None:
            return self.connection.execute(sa.text(f"select {columns} from {table} where {where} order by {order}"))
        query = sa.text(f"select {columns} from {table} where {where} and param_name in :names order by {order}")
        return self.connection.execute(query.bindparams(sa.bindparam("names", list(names), expanding=True)))


def _number(value: float | None, kind: str) -> float:
    return NUMBERS[kind] if value is None else bounded_float(str(value))


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
