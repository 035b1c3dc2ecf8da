"""The history of a search: what was tried, skipped, stopped and failed, and which axes mattered."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
from networks import space
from optuna.trial import TrialState, create_trial

from ffnet_search.search.history import MIN_CANDIDATES, read_history
from ffnet_search.search.storage.study import open_study
from ffnet_search.search.storage.trial_params import distributions, params_of
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.space.registry import known_metrics

OBJECTIVES: dict[str, Any] = {"accuracy": "maximize", "latency_ms": "minimize"}


def test_history_has_the_learning_curves_of_trials_that_trained(tmp_path: Path) -> None:
    digits, rng = space("ffnet_digits"), random.Random(0)
    trials = []
    for number in range(3):
        arch = digits.sample(rng)
        attributes: dict[str, Any] = {"key": arch.key, "accuracy": 0.9, "latency_ms": 1.0}
        attributes["reports"] = {"1": {"accuracy": 0.2}, "2": {"accuracy": 0.3}, "3": {"accuracy": math.inf}}
        common: dict[str, Any] = {
            "params": params_of(digits, Configuration(arch)),
            "distributions": distributions(digits),
        }
        if number == 0:
            trials.append(create_trial(values=[0.9, 1.0], user_attrs=attributes, **common))
        elif number == 1:
            attributes |= {"stopped": 2, "accuracy": 0.3}
            trials.append(create_trial(state=TrialState.PRUNED, user_attrs=attributes, **common))
        else:
            trials.append(create_trial(state=TrialState.FAIL, user_attrs=attributes, **common))
    with open_study(tmp_path / "study.db", OBJECTIVES, "x") as writer:
        writer.add(trials)
        writer.study.set_user_attr("reference", {"accuracy": 0.25})
    history = read_history(tmp_path / "study.db", digits, [known_metrics()[name] for name in OBJECTIVES])
    assert history.reference == {"accuracy": 0.25}
    assert history.curved == "accuracy"
    assert [(one.number, one.values, one.stopped) for one in history.curves] == [
        (0, {1: 0.2, 2: 0.3, 4: 0.9}, False),
        (1, {1: 0.2, 2: 0.3}, True),
    ]


def test_history_lists_trials_by_their_end_and_the_axes_that_mattered(tmp_path: Path) -> None:
    digits, rng = space("ffnet_digits"), random.Random(0)
    axes = distributions(digits)
    trials = []
    for number in range(60):
        arch = digits.sample(rng)
        common: dict[str, Any] = {"params": params_of(digits, Configuration(arch)), "distributions": axes}
        common["user_attrs"] = {"key": arch.key, "accuracy": 0.5, "latency_ms": 1.0}
        if number < 50:  # the width of the last stage is all that counts
            score = arch.stages[-1].width / 100 + rng.random() / 1000
            trials.append(create_trial(values=[score, arch.macs_m], **common))
        elif number < 57:
            trials.append(
                create_trial(state=TrialState.PRUNED, constraints={"params_m": 0.5, "macs_m": -1.0}, **common)
            )
        else:
            common["user_attrs"]["reason"] = "out of memory"
            trials.append(create_trial(state=TrialState.FAIL, **common))
    path = tmp_path / "study.db"
    with open_study(path, OBJECTIVES, "x") as writer:
        writer.add(trials)
    history = read_history(path, digits, [known_metrics()[name] for name in OBJECTIVES])
    assert len(history.evaluated) == 50
    assert (history.excluded, dict(history.infeasible)) == (7, {"params_m": 7})
    assert [reason for _, reason in history.failures] == ["out of memory"] * 3
    assert next(iter(history.importances["accuracy"])) == "stage3.width"
    assert sum(history.importances["accuracy"].values()) == pytest.approx(1)


@pytest.mark.parametrize(("count", "known"), [(MIN_CANDIDATES - 1, False), (MIN_CANDIDATES, True)])
def test_importances_need_enough_candidates(tmp_path: Path, count: int, known: bool) -> None:
    digits, rng = space("ffnet_digits"), random.Random(0)
    trials = []
    for _ in range(count):
        arch = digits.sample(rng)
        params, attributes = params_of(digits, Configuration(arch)), {"key": arch.key, "accuracy": 0.5}
        axes = distributions(digits)
        trials.append(
            create_trial(values=[rng.random(), 1.0], params=params, distributions=axes, user_attrs=attributes)
        )
    with open_study(tmp_path / "study.db", OBJECTIVES, "x") as writer:
        writer.add(trials)
    history = read_history(tmp_path / "study.db", digits, [known_metrics()[name] for name in OBJECTIVES])
    assert bool(history.importances["accuracy"]) == known
    assert history.importances["latency_ms"] == {}  # the same for all
