"""Trials that are read in bulk from the rows of a study are those that Optuna reads."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from ffnet_search.search.storage import trial_reader
from ffnet_search.search.storage.trial_reader import BulkStorage


@pytest.fixture(params=["UTC0", "EST5", "IST-5:30"])
def time_zone(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("time_zone")
def test_bulk_reading_equals_optunas_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a study that Optuna wrote itself, with all that a trial can have, while it grows."""
    url = f"sqlite:///{tmp_path / 'any.db'}"
    bulk, plain = BulkStorage(url), RDBStorage(url)
    study = optuna.create_study(storage=url, study_name="any", directions=["maximize", "minimize"])
    other = optuna.create_study(storage=url, study_name="other")
    study_id = plain.get_study_id_from_name("any")
    space = {"a": FloatDistribution(0, 1), "b": CategoricalDistribution(["x", 2]), "c": IntDistribution(1, 9)}
    params = {"a": 0.5, "b": "x", "c": 3}
    whole = create_trial(
        values=[math.inf, -1.0], params=params, distributions=space, user_attrs={"u": [1]}, system_attrs={"s": {"k": 2}}
    )
    reported = create_trial(state=TrialState.PRUNED, intermediate_values={0: 0.5, 3: math.inf})
    for added in ([whole, reported], [create_trial(state=TrialState.FAIL)], [whole] * 3):
        study.add_trials(added)
        pending = study.ask(space)
        other.ask()
        for states in (None, (TrialState.COMPLETE,), (TrialState.RUNNING, TrialState.FAIL)):
            expected = plain.get_all_trials(study_id, states=states)
            assert bulk.get_all_trials(study_id, states=states) == expected
        study.tell(pending, [0.0, 0.0])
    study.add_trial(whole)
    expected = plain.get_all_trials(study_id)
    assert bulk.get_all_trials(study_id) == expected
    with pytest.raises(KeyError):
        bulk.get_all_trials(99)
    monkeypatch.setattr(trial_reader, "AT_ONCE", 2)
    assert list(trial_reader.stream(bulk, study_id)) == expected
    for names in ([], ["c", "a"]):
        streamed = list(trial_reader.stream(plain, study_id, names))
        assert [t.number for t in streamed] == [t.number for t in expected]
        for some, every in zip(streamed, expected, strict=True):
            assert some.params == {name: value for name, value in every.params.items() if name in names}
            assert (some.values, some.user_attrs, some.state) == (every.values, every.user_attrs, every.state)
    for storage in (bulk, plain):
        storage.engine.dispose()
