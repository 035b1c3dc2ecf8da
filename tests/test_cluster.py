"""Engines "ray" and "tune" on one machine: deaths, waits, mistakes. The whole contract is in e2e/test_engines.py."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from engine_contract import EngineContract
from optuna.trial import TrialState
from searches import DIGITS, SPACES, Run, search
from test_supernet import sweep

from ffnet_search.cluster.session import Cluster, granted
from ffnet_search.config.schema import Resources, SearchSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.search.problem import SearchProblem
from ffnet_search.search.storage.trial_record import TrialRecord
from ffnet_search.training.ray_train import train_on_cluster

contract = EngineContract()
pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(params=["ray", "tune"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_it_is_under_the_contract(run: Run, engine: str) -> None:
    contract.test_each_architecture_is_evaluated_once_and_all_are_kept(run, engine)


def test_its_trials_are_stopped_by_the_rule(run: Run, engine: str) -> None:
    contract.test_every_engine_stops_the_same_trials_and_goes_on_so_when_resumed(
        run, engine, ["accuracy", "latency_ms"]
    )


@pytest.mark.parametrize("engine", ["tune"])
def test_what_tunes_own_scheduler_stops_is_told_as_stopped(run: Run, engine: str) -> None:
    run.epochs = 9
    scheduler = {"class_path": "ASHAScheduler", "init_args": {"max_t": 9, "grace_period": 1, "reduction_factor": 2}}
    candidates = run.search(engine=engine, trials=16, objectives=["accuracy"], scheduler=scheduler)
    states = Counter(TrialRecord.from_trial(trial).state for trial in run.on_disk.trials)
    assert states == {"evaluated": len(candidates), "stopped": 16 - len(candidates)}
    assert 1 <= len(candidates) <= 12
    for trial in run.on_disk.trials:
        assert list(map(int, trial.user_attrs["reports"])) == list(range(1, 1 + trial.user_attrs.get("stopped", 8)))


@pytest.mark.parametrize("engine", ["ray"])
def test_who_kills_three_workers_has_failed_and_the_search_goes_on(run: Run, engine: str) -> None:
    run.broken = {DIGITS.smallest.key: "kill", DIGITS.largest.key: "kill once"}
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


@pytest.mark.parametrize("engine", ["ray"])
def test_a_mistake_that_a_worker_meets_as_it_starts_is_the_users(run: Run, engine: str) -> None:
    with pytest.raises(SweepError, match=r"^supernet\.ckpt: no such file"):
        search(run.problem(engine=engine), no_weights, run.folder)


@pytest.mark.parametrize("resources", [{"gpu": 1}, {"memory_gb": 1e4}])
def test_what_the_cluster_lacks_is_named_after_a_bounded_wait(
    run: Run,
    engine: str,
    resources: dict[str, float],
) -> None:
    with pytest.raises(SweepError, match=r"asks for cpu 1, .* no node with that free: 1 node \(2 CPU, 0 GPU"):
        run.search(engine=engine, resources=resources, wait_minutes=0.02)
    assert not run.on_disk.trials


def test_gpus_that_training_lacks_are_named_after_a_bounded_wait(tmp_path: Path) -> None:
    search = {"engine": "ray", "resources": {"gpu": 0.25}, "wait_minutes": 0.02}
    lacking = Sweep.model_validate(sweep(tmp_path, devices=2).model_dump() | {"search": search})
    with pytest.raises(SweepError, match=r"train.devices: 2 ranks ask for 1 GPU .* 1 node \(2 CPU, 0 GPU"):
        train_on_cluster(lacking)


def test_a_laptop_without_gpu_runs_the_sweep_of_a_cluster() -> None:
    here = Cluster(fixed=True)
    assert granted(Resources(gpu=0.25), here) == Resources()
    with pytest.raises(SweepError, match=r"asks for cpu 64, but this machine has no node with that"):
        granted(Resources(cpu=64), here)


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
def test_a_wrong_scheduler_is_one_sentence(run: Run, scheduler: dict[str, Any], message: str) -> None:
    with pytest.raises(SweepError, match=message):
        run.search(engine="tune", scheduler=scheduler)


@pytest.mark.parametrize("other", [("2.0.0", "3.11.7"), ("2.60.0", "3.9.1")], ids=["Ray", "Python"])
def test_another_version_than_the_clusters_is_one_sentence_before_any_stage(
    ray_cluster: str, other: tuple[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "other.yaml"
    search = {"trials": 2, "engine": "ray"}
    path.write_text(
        yaml.dump({"search_space": str(SPACES / "ffnet_digits.yaml"), "data": {"name": "digits"}, "search": search})
    )
    script = (
        "import ray._private.utils\n"
        f"ray._private.utils.compute_version_info = lambda: {other}\n"
        f"import sys; sys.argv = ['ffnet-search', 'run', {str(path)!r}]\n"
        "from ffnet_search.cli.app import main\n"
        "main()"
    )
    environment = {**os.environ, "RAY_ADDRESS": ray_cluster, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 2
    (said,) = (line for line in ran.stderr.splitlines() if line.startswith("ffnet-search: "))
    assert f"the Ray cluster at {ray_cluster} refuses: Version mismatch" in said
    assert f"was started with: Ray: {other[0]} Python: {other[1]}; both must be the same here and on its nodes" in said
    assert "profile (1" not in ran.stderr and not (tmp_path / "runs" / "other" / "latency").exists()


def lacking() -> Any:
    import no_such_package  # noqa: F401


@pytest.mark.parametrize("lacks", ["for its evaluator", "for itself"])
def test_a_node_without_the_packages_is_named(tmp_path: Path, lacks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if lacks == "for itself":
        module = "from ffnet_search.engines import ray_worker\nclass Worker(ray_worker.Worker): ...\n"
        (tmp_path / "only_here.py").write_text(module)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr("ffnet_search.engines.ray_pool.Worker", importlib.import_module("only_here").Worker)
    section = SearchSection(trials=3, engine="ray")
    named = r"a worker on node [\d.]+ cannot load this program \(ModuleNotFoundError: No module named '\w+'\); every"
    with pytest.raises(SweepError, match=named):
        search(SearchProblem(DIGITS, section), lacking, tmp_path)


LOOK = """
import ray
from ffnet_search.cluster import session
asked = []
ray.init = lambda **arguments: asked.append(arguments["address"])
with session.existing_cluster() as cluster:
    print(cluster is not None, asked)
"""


@pytest.mark.parametrize("is_there", [False, True])
def test_a_cluster_that_is_gone_is_not_waited_for(tmp_path: Path, is_there: bool) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if is_there:
            server.listen()
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "ray_current_cluster").write_text(f"127.0.0.1:{server.getsockname()[1]}")
        environment = {**os.environ, "RAY_TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
        environment.pop("RAY_ADDRESS", None)
        ran = subprocess.run([sys.executable, "-c", LOOK], env=environment, capture_output=True, text=True)
    assert ran.stdout.strip() == ("True ['auto']" if is_there else "False []"), ran.stderr
