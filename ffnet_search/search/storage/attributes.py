"""Attributes of a study, of which many are replaced in one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from optuna.storages import RDBStorage

from ffnet_search.search.storage.damage import database_errors
from ffnet_search.search.storage.study import NAME, quiet_optuna, study_url

SET_ATTRIBUTE = sa.text(
    "insert into study_system_attributes (study_id, key, value_json) values (:study, :key, :value) "
    "on conflict (study_id, key) do update set value_json = excluded.value_json"
)


@dataclass(frozen=True)
class Attributes:
    """The system attributes of a study: as they are, and those that replace them."""

    study_id: int
    before: Mapping[str, object]
    new: dict[str, object] = field(default_factory=dict)


@contextmanager
def replacing_attributes(study: Path) -> Iterator[Attributes]:
    """Yield the attributes of a study; the new ones are written at the end of the block.

    Raises SweepError if the study cannot be read or written."""
    with quiet_optuna(), database_errors(study):
        storage = RDBStorage(study_url(study))
        try:
            study_id = storage.get_study_id_from_name(NAME)
            attributes = Attributes(study_id, storage.get_study_system_attrs(study_id))
            yield attributes
            changed = {key: value for key, value in attributes.new.items() if attributes.before.get(key) != value}
            rows = [{"study": study_id, "key": key, "value": json.dumps(value)} for key, value in changed.items()]
            if rows:  # in one transaction: each by itself may take 20 ms on a disk
                with storage.engine.begin() as connection:
                    connection.execute(SET_ATTRIBUTE, rows)
        finally:
            storage.engine.dispose()
