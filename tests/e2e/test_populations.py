"""Population-based training by Tune, on the real digits with real checkpoints."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.trial import TrialState
from populations import ONE, POPULATION, RATES

from ffnet_search.config.files import LAST_CHECKPOINT
from ffnet_search.config.sweep import Sweep
from ffnet_search.evaluation.judge import quality
from ffnet_search.evaluation.schedule import Schedule, read_schedule
from ffnet_search.evaluation.trained import WEIGHTS, TrialEvaluator
from ffnet_search.models.deployed import fuse
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.run.rerun import rerun
from ffnet_search.search.storage.study import read_trials
from ffnet_search.search.storage.trial_record import TrialRecord
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.strict_yaml import parse
from ffnet_search.tasks.base import find_task
from ffnet_search.training.fit import sweep_data

CLASSIFICATION = find_task("classification")

ROOT = Path(__file__).parents[2]


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
def test_the_worst_go_on_from_the_best_and_all_that_people_see_says_what_was_trained(tmp_path: Path) -> None:
    sweep = sweep_of(
        tmp_path, 6, trials=4, scheduler=POPULATION, sampler={"class_path": "RandomSampler", "init_args": {}}
    )
    files = sweep.files
    (pick,) = run_sweep(sweep)
    trials = list(read_trials(files.study))
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    schedules = {
        trial.number: trial.user_attrs["record"]["schedule"]
        for trial in trials
        if "schedule" in trial.user_attrs["record"]
    }
    assert schedules
    starts = [dict(trial.params) for trial in trials]
    space = sweep.search_space.hyperparameters
    for schedule in schedules.values():
        assert schedule[0]["after_epoch"] == 0
        assert schedule[0]["hyperparameters"] in starts  # of this trial, or of the one that it went on from
        epochs = [step["after_epoch"] for step in schedule]
        assert epochs == sorted(set(epochs)) and epochs[-1] < 6
        for before, after in pairwise(schedule):
            assert before["hyperparameters"] != after["hyperparameters"]
            for name, one in space.items():
                low, high = one.range
                changed = {factor * before["hyperparameters"][name] for factor in (0.8, 1.2)}
                assert after["hyperparameters"][name] in {max(low, min(high, value)) for value in changed}
    with files.candidates.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for trial, row in zip(trials, rows, strict=True):
        last = schedules.get(trial.number, [{"hyperparameters": trial.params}])[-1]["hyperparameters"]
        resolved = trial.user_attrs["record"]["resolved"]["train"]
        assert {name: resolved[name] for name in space} == last
        assert {name: float(row[name]) for name in space} == last
        assert row["schedule"] == trial.user_attrs.get("schedule", "")
        assert (trial.number in schedules) == ("; after epoch " in row["schedule"])
        if row["key"] == pick.key:
            assert dict(pick.hyperparameters) == last
            card = json.loads((pick.folder / "card.json").read_text())
            assert card["hyperparameters"] == last and card["training"]["resolved"]["train"] == resolved
    worst = min(trials, key=lambda trial: trial.params["learning_rate"])
    assert worst.params["learning_rate"] < 1e-4 and worst.value > 0.25  # with which alone it stays at chance, 0.1
    assert {trial.user_attrs["key"] for trial in trials} == {
        path.name for path in files.trials.iterdir() if (path / WEIGHTS).exists()
    }
    longest = max(schedules, key=lambda number: len(schedules[number]))
    again = rerun(files.folder, str(longest))  # by its schedule, alone and in one process
    assert again.metrics["accuracy"][0] == again.metrics["accuracy"][1]
    (files.trials / trials[longest].user_attrs["key"] / WEIGHTS).unlink()
    evaluate, candidate = TrialEvaluator(sweep), TrialRecord.from_trial(trials[longest]).candidate(sweep.search_space)
    assert quality(
        fuse(evaluate.network(candidate)), sweep_data(sweep).val_dataloader(), CLASSIFICATION
    ) == pytest.approx(candidate.metrics["accuracy"], abs=1e-6)


SCRIPT = "import sys; from ffnet_search import Sweep, run; run(Sweep.from_yaml(sys.argv[1]))"


def test_a_killed_population_goes_on_from_its_checkpoints_and_schedules(tmp_path: Path, ray_cluster: str) -> None:
    import ray

    sweep = sweep_of(
        tmp_path, 8, trials=4, scheduler=POPULATION, sampler={"class_path": "RandomSampler", "init_args": {}}
    )
    files = sweep.files
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(sweep.path)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": ray_cluster}, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def under_way() -> dict[str, Schedule]:
        """Of members whose hyper-parameters were changed, and that have a checkpoint."""
        folders = [path.parent for path in files.trials.glob(f"*/{LAST_CHECKPOINT}")]
        return {path.name: found for path in folders if len(found := read_schedule(path)) > 1}

    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and not under_way():
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while ray.available_resources().get("CPU", 0) < 2 and time.monotonic() < deadline:  # its workers end
        time.sleep(0.05)
    before = under_way()
    assert before
    run_sweep(sweep, stages=("search",))
    trials = {trial.user_attrs["key"]: trial for trial in read_trials(files.study)}
    assert [trial.state for trial in trials.values()] == [TrialState.COMPLETE] * 4
    starts = [dict(trial.params) for trial in trials.values()]
    for key in before:
        found = trials[key].user_attrs["record"]
        assert found["epochs"] == 8
        assert found["schedule"][0]["hyperparameters"] in starts  # its own, or of one that it went on from since
    for number in range(4):  # what the records say is what was trained
        again = rerun(files.folder, str(number))
        assert again.metrics["accuracy"][0] == again.metrics["accuracy"][1]
    assert not list(files.trials.glob("*/schedule.json"))
