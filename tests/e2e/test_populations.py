"""Population-based training by Tune, on the real digits with real checkpoints."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.trial import TrialState
from test_population import ONE, POPULATION, RATES

from ffnet_search.errors import parse
from ffnet_search.evaluators import FromSweep
from ffnet_search.search import search
from ffnet_search.search.study import read_trials
from ffnet_search.search_space import SearchSpace
from ffnet_search.sweep import Sweep


def sweep_of(folder: Path, epochs: int, **section: Any) -> Sweep:
    content = {
        "name": "population",
        "runs": str(folder),
        "search_space": {"architecture": architecture(), "hyperparameters": RATES},
        "data": {"name": "digits", "validation": 0.25, "calibration": 128, "batch_size": 128, "workers": 0},
        "train": {"epochs": epochs},
        "search": {"evaluator": "train", "engine": "tune", "objectives": ["accuracy"], **section},
    }
    (folder / "s.yaml").write_text(yaml.safe_dump(content))
    return Sweep.from_yaml(folder / "s.yaml")


def architecture() -> dict[str, Any]:
    return parse(SearchSpace, ONE, "space").largest.to_dict()


@pytest.mark.usefixtures("ray_cluster")
def test_the_worst_go_on_from_the_best_and_the_study_says_what_was_trained(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, 6, trials=4, scheduler=POPULATION, sampler={"name": "RandomSampler", "args": {}})
    files = sweep.files
    files.study.parent.mkdir()
    search(sweep.search_space, FromSweep(sweep), None, sweep.search, files.study, files.candidates)
    trials = read_trials(files.study)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    schedules = [trial.user_attrs["record"]["schedule"] for trial in trials if "schedule" in trial.user_attrs["record"]]
    assert schedules
    starts = [dict(trial.params) for trial in trials]
    space = sweep.search_space.hyperparameters
    for schedule in schedules:
        assert schedule[0]["after_epoch"] == 0
        assert schedule[0]["hyperparameters"] in starts  # of this trial, or of the one that it went on from
        epochs = [step["after_epoch"] for step in schedule]
        assert epochs == sorted(epochs) and epochs[-1] < 6
        for before, after in pairwise(schedule):
            assert before["hyperparameters"] != after["hyperparameters"]
            for name, one in space.items():
                low, high = one.range
                changed = {factor * before["hyperparameters"][name] for factor in (0.8, 1.2)}
                assert after["hyperparameters"][name] in {max(low, min(high, value)) for value in changed}
    resolved = trials[0].user_attrs["record"]["resolved"]["train"]
    last = trials[0].user_attrs["record"].get("schedule", [{"hyperparameters": trials[0].params}])[-1]
    assert {name: resolved[name] for name in space} == last["hyperparameters"]
    worst = min(trials, key=lambda trial: trial.params["learning_rate"])
    assert worst.params["learning_rate"] < 1e-4 and worst.value > 0.25  # with which alone it stays at chance, 0.1
    assert {trial.user_attrs["key"] for trial in trials} == {
        path.name for path in files.trials.iterdir() if (path / "weights.ckpt").exists()
    }
