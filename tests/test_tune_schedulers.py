"""Schedulers of engine "tune", population-based training among them, which trains in e2e/test_populations.py."""

from __future__ import annotations

import errno
import io
import logging
import random
from collections import Counter
from typing import Any

import pytest
from populations import ONE, POPULATION, RATES, STAGE
from searches import Run

from ffnet_search.config.search_schema import SearchSection
from ffnet_search.engines.tune.schedulers import Explore, population_arguments
from ffnet_search.engines.tune.tuner import ONE_LINE
from ffnet_search.errors import SweepError
from ffnet_search.search.storage.trial_record import TrialRecord
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.strict_yaml import parse


def test_what_ray_logs_is_one_line_with_the_error_of_its_traceback() -> None:
    """Tune's own state that a full disk did not take was a traceback."""
    said = io.StringIO()
    handler, logger = logging.StreamHandler(said), logging.Logger("ray.tune.somewhere")
    handler.addFilter(ONE_LINE)
    logger.addHandler(handler)
    try:
        raise OSError(errno.ENOSPC, "No space left on device")
    except OSError:
        logger.error("Saving to %r failed\nwith exception: ", "runs", exc_info=True)
    assert said.getvalue() == "Saving to 'runs' failed with exception: [Errno 28] No space left on device\n"


def test_what_tune_changes_stays_in_the_space() -> None:
    space = parse(SearchSpace, {**ONE, "hyperparameters": {**RATES, "mixup": [0.0, 0.2], "flip": [True, False]}}, "s")
    explore, rng = Explore(space.hyperparameters), random.Random(0)
    for _ in range(100):
        changed = {"learning_rate": 10 ** rng.uniform(-9, 3), "weight_decay": rng.uniform(-1, 1), "mixup": 0.2}
        config = explore({**changed, "flip": True, "proposal": Configuration(None, {"learning_rate": 1.0}), "key": "k"})
        values = config["proposal"].hyperparameters
        assert {name: config[name] for name in space.hyperparameters} == values
        for name in RATES:
            low, high = space.hyperparameters[name].range
            assert low <= values[name] <= high
        assert (values["mixup"], values["flip"], config["key"]) == (0.2, True, "k")


@pytest.mark.parametrize(
    ("section", "space", "message"),
    [
        ({"evaluator": "supernet"}, {}, "must go with search.evaluator 'train'"),
        ({"objectives": ["accuracy", "macs_m"]}, {}, r"must have one objective.* there are 2 \(accuracy, macs_m\)"),
        ({}, {"stages": [{**STAGE, "depth": [1, 2]}]}, "must have one FFNet, since a trial continues with the weights"),
        ({}, {"hyperparameters": {}}, "hyperparameters that can change in the middle of a training .* but has none"),
        ({}, {"hyperparameters": {"epochs": [3, 6]}}, r"can change in the middle .*\), but has epochs"),
        (
            {"scheduler": {**POPULATION, "init_args": {"hyperparam_mutations": {"learning_rate": [0.1]}}}},
            {},
            "init_args.hyperparam_mutations must be left out",
        ),
    ],
)
def test_what_cannot_be_a_population_is_one_sentence(
    section: dict[str, Any], space: dict[str, Any], message: str
) -> None:
    settings = {"engine": "tune", "evaluator": "train", "objectives": ["accuracy"], "scheduler": POPULATION, **section}
    with pytest.raises(SweepError, match=message):
        population_arguments(
            parse(SearchSection, settings, "search"),
            parse(SearchSpace, {**ONE, "hyperparameters": RATES, **space}, "s"),
        )


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        ({"class_path": "ASHASchedule"}, "did you mean 'ASHAScheduler'"),
        ({"class_path": "ASHAScheduler", "init_args": {"metric": "accuracy", "mode": "up"}}, "are refused by Tune"),
        (
            {"class_path": "ASHAScheduler"},
            "init_args.metric must be one of accuracy, latency_ms: ASHAScheduler compares trials by",
        ),
    ],
)
def test_a_wrong_scheduler_is_one_sentence(run: Run, ray_cluster: str, scheduler: dict[str, Any], message: str) -> None:
    with pytest.raises(SweepError, match=message):
        run.search(engine="tune", scheduler=scheduler)


def test_a_trial_that_a_scheduler_of_tune_ends_is_a_stopped_one(run: Run, ray_cluster: str) -> None:
    run.epochs = 9
    scheduler = {"class_path": "ASHAScheduler", "init_args": {"max_t": 9, "grace_period": 1, "reduction_factor": 2}}
    candidates = run.search(engine="tune", trials=16, objectives=["accuracy"], scheduler=scheduler)
    states = Counter(TrialRecord.from_trial(trial).state for trial in run.on_disk.trials)
    assert states == {"evaluated": len(candidates), "stopped": 16 - len(candidates)}
    assert 1 <= len(candidates) <= 12
    for trial in run.on_disk.trials:
        assert list(map(int, trial.user_attrs["reports"])) == list(range(1, 1 + trial.user_attrs.get("stopped", 8)))
