"""Trials that train, through whole sweeps: killed, and on the engines of a cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from trial_sweeps import own_sweep, sweep_of

from ffnet_search.run.pipeline import run_sweep
from ffnet_search.run.rerun import rerun
from ffnet_search.search.history import read_history
from ffnet_search.search.storage.study import read_trials

ROOT = Path(__file__).parents[2]
RATES = {"learning_rate": {"low": 1e-3, "high": 3e-2, "log": True}, "momentum": {"low": 0.5, "high": 0.9}}


DIES = """
import os, signal, sys
from ffnet_search import Sweep, run
from ffnet_search.evaluation.trained import TrialEvaluator

evaluate, begun = TrialEvaluator.__call__, []

def dies(*arguments):
    begun.append(arguments)
    if len(begun) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return evaluate(*arguments)

TrialEvaluator.__call__ = dies
run(Sweep.from_yaml(sys.argv[1]))
"""


def test_a_killed_sweep_goes_on_with_its_hyperparameters(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, RATES, search={"evaluator": "train", "objectives": ["accuracy"], "trials": 5})
    pending = sweep.files.study.with_name("study.db.pending")
    command = [sys.executable, "-c", DIES, str(sweep.path)]
    died = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    before = list(read_trials(sweep.files.study))
    cut_off = [one["params"] for one in json.loads(pending.read_text()).values()] if pending.exists() else []
    run_sweep(sweep)
    after = list(read_trials(sweep.files.study))
    assert len(before) == 2 and len(after) == 5
    assert [trial.params for trial in after[: len(before)]] == [trial.params for trial in before]
    assert [trial.params for trial in after[len(before) :][: len(cut_off)]] == cut_off
    assert {trial.state.name for trial in after} == {"COMPLETE"}
    assert not pending.exists()


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("engine", ["ray", "tune"])
def test_workers_of_a_cluster_train(tmp_path: Path, engine: str) -> None:
    search = {"evaluator": "train", "objectives": ["accuracy"], "trials": 5, "engine": engine, "workers": 2}
    sweep = sweep_of(tmp_path, RATES, search=search)
    (pick,) = run_sweep(sweep)
    trials = list(read_trials(sweep.files.study))
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 5
    assert all(trial.user_attrs["record"]["seed"] for trial in trials)
    found = rerun(sweep.files.folder, pick.key)  # here what a worker computed there
    assert found.metrics["accuracy"][0] == found.metrics["accuracy"][1]


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("engine", ["ray", "tune"])
def test_what_breaks_in_a_trial_is_a_failure_with_its_reason(tmp_path: Path, engine: str) -> None:
    search = {"evaluator": "train", "metrics": {"val_loss": "minimize"}, "objectives": ["val_loss"]}
    sweep = own_sweep(
        tmp_path,
        {"module.rate": [0.01, -1.0, 5.0, 1.0, 0.03]},  # -1: its process is killed, 5: no memory, 1: not a number
        search={**search, "engine": engine, "workers": 1, "trials": 5},
    )
    run_sweep(sweep)
    objectives = [sweep.search.metric(name) for name in sweep.search.objectives]
    history = read_history(sweep.files.study, sweep.search_space, objectives)
    assert len(history.evaluated) == 2
    reasons = sorted(reason[:20] for _, reason in history.failures)
    assert reasons == ["MemoryError: no free", "NonFiniteLoss: val_l", "its worker died 3 ti"]
    assert {trial.state.name for trial in read_trials(sweep.files.study)} == {"COMPLETE", "FAIL"}
