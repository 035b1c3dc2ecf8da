"""Trials of a study on disk, read in bulk from the rows of Optuna's tables.

Optuna parses every distribution of every trial twice, and builds an object per row: 5 to 9 s for 5,000 trials of 14
parameters. Finished trials never change, so they are read once, and equal distributions share one object.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Container, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from optuna.distributions import json_to_distribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from ffnet_search.files.bounded import bounded_float, parse_json
from ffnet_search.search.storage.damage import DAMAGE, DamagedStudy, brief

DETAILS = ("values", "intermediate_values", "params", "user_attributes", "system_attributes")
NUMBERS = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}
AT_ONCE = 500  # trials that are read by one query
Details = dict[int, dict[Any, Any]]
_distribution = lru_cache(maxsize=4096)(json_to_distribution)


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
    engine: sa.Engine, study_id: int, after: int, limit: int | None = None, params: Collection[str] | None = None
) -> list[FrozenTrial]:
    """The trials with ids greater than `after`, at most `limit`."""
    ids = f"select trial_id from trials where study_id = {study_id:d} and trial_id > {after:d} order by trial_id"
    if limit is not None:
        ids += f" limit {limit:d}"
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
    """The local time, as Optuna gives it, of a time in UTC, as Optuna stores it."""
    if text is None:
        return None
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).astimezone().replace(tzinfo=None)
