"""Engines "ray" and "tune" on one machine: deaths, waits, user errors, user code. The contract of engines is apart."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from searches import DIGITS, Run, search

from ffnet_search.config.search_schema import SearchSection
from ffnet_search.errors import SweepError
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.study import read_trials

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]


@pytest.fixture(params=["ray", "tune"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_configuration_at_which_three_workers_die_has_failed_and_the_search_continues(run: Run, engine: str) -> None:
    run.broken = {DIGITS.smallest.key: signal.SIGTERM, DIGITS.largest.key: "kill once"}
    candidates = run.search(engine=engine, trials=12)
    assert len(candidates) == 11
    (failed,) = run.trials(TrialState.FAIL)
    assert failed.user_attrs["key"] == DIGITS.smallest.key
    assert failed.user_attrs["reason"].startswith("its worker died 3 times")
    assert run.evaluated.count(DIGITS.smallest.key) == 3
    assert DIGITS.largest.key in {candidate.key for candidate in candidates}
    keys = [trial.user_attrs["key"] for trial in run.on_disk.trials]
    assert len(set(keys)) == len(keys) == 12


def no_weights() -> Any:
    raise SweepError("supernet.ckpt: no such file")


def test_a_user_error_at_the_start_of_a_worker_ends_the_search(run: Run, engine: str) -> None:
    with pytest.raises(SweepError, match=r"^supernet\.ckpt: no such file"):
        search(run.problem(engine=engine), no_weights, run.folder)


@pytest.mark.parametrize("resources", [{"gpu": 1}, {"memory_gb": 1e4}])
def test_resources_that_the_cluster_lacks_are_named_after_a_bounded_wait(
    run: Run,
    engine: str,
    resources: dict[str, float],
) -> None:
    with pytest.raises(SweepError, match=r"asks for cpu 1, .* no node with that free: 1 node \(2 CPU, 0 GPU"):
        run.search(engine=engine, resources=resources, wait_minutes=0.02)
    assert not run.on_disk.trials


def lacking() -> Any:
    import no_such_package  # noqa: F401


@pytest.mark.parametrize("lacks", ["for its evaluator", "for itself"])
def test_a_node_without_the_packages_is_named(tmp_path: Path, lacks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if lacks == "for itself":
        module = "from ffnet_search.engines import ray_pool\nclass Worker(ray_pool.Worker): ...\n"
        (tmp_path / "only_here.py").write_text(module)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr("ffnet_search.engines.ray_pool.Worker", importlib.import_module("only_here").Worker)
    section = SearchSection(trials=3, engine="ray")
    named = r"a worker on node [\d.]+ cannot load this program \(ModuleNotFoundError: No module named '\w+'\); every"
    with pytest.raises(SweepError, match=named):
        search(SearchProblem(DIGITS, section), lacking, tmp_path)


SENT = """
allow_imports: true
name: sent
search_space:
  architecture:
    input: {channels: 1, resolution: 8, classes: 10}
    stem: {width: 8, stride: 2}
    stages:
      - width: 8
        multiplier: 1
        blocks: [{mixer: "sent_blocks:Blur", token_kernel: 3, channel_kernel: 3, expansion: 1}]
  hyperparameters: {learning_rate: [0.01, 0.02]}
data: {name: digits, validation: 0.25, calibration: 256, workers: 0}
train: {epochs: 1, warmup_epochs: 0}
search: {evaluator: train, engine: ENGINE, objectives: [accuracy], trials: 2}
"""


def test_a_mixer_that_only_the_driver_can_import_is_evaluated_by_workers(
    ray_cluster: str, tmp_path: Path, engine: str
) -> None:
    """The workers find it in no folder of theirs: not in the current one, and not in PYTHONPATH."""
    own, work = tmp_path / "own", tmp_path / "work"
    own.mkdir()
    work.mkdir()
    (own / "sent_blocks.py").write_text((ROOT / "tests" / "support" / "my_blocks.py").read_text())
    (work / "s.yaml").write_text(SENT.replace("ENGINE", engine))
    environment = {**os.environ, "RAY_ADDRESS": ray_cluster, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, own)))}
    command = [sys.executable, "-m", "ffnet_search", "search", "s.yaml"]
    ran = subprocess.run(command, env=environment, cwd=work, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    trials = list(read_trials(work / "runs" / "sent" / "study.db"))
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
