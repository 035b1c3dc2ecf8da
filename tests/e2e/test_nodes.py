"""Nodes of a cluster that are lost, come back, or take the whole cluster with them: several on one machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.trial import TrialState
from patience import BUSY_S, PATIENCE_S, REGISTER, REGISTER_S
from searches import Run
from tiny_sweep import trained

from ffnet_search.config.files import LAST_CHECKPOINT
from ffnet_search.models.saved import read_supernet
from ffnet_search.training.fit import train_supernet

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys, time
from functools import partial
from pathlib import Path
from ffnet_search.config.search_schema import SearchSection
from ffnet_search.search.problem import SearchProblem
from searches import CHEAP, DIGITS, Accuracy, search

HOLD = 150

def make(folder):
    import ray
    node, evaluate = ray.get_runtime_context().get_node_id(), Accuracy(folder / "log", sleep_s=0.05, hold=HOLD)
    with (folder / "nodes").open("a") as file:
        file.write(node + "\\n")
    return evaluate

folder = Path(sys.argv[1])
section = SearchSection(engine="ray", trials=int(sys.argv[2]), sampler="RandomSampler")
search(SearchProblem(DIGITS, section, CHEAP), partial(make, folder), folder)
"""


TRAIN = """
import sys
from pathlib import Path
from tiny_sweep import trained
from ffnet_search.training.ray_train import train_on_cluster
from ffnet_search.config.sweep import Sweep

run = trained(Path(sys.argv[1]), devices=2, checkpoint_minutes=1e-4)
train_on_cluster(Sweep.model_validate(run.model_dump() | {"search": {"engine": "ray"}}))
"""
MODULES = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests/support")))
HOLD = 150  # of SCRIPT
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}


@contextmanager
def cluster(nodes: int, head_cpus: int = 1) -> Iterator[Any]:
    """A cluster of nodes with a CPU each, whose workers find the modules of the tests; `address` names it."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", MODULES)
        patch.setenv(REGISTER, REGISTER_S)
        made = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": head_cpus, "include_dashboard": False})
        try:
            for _ in range(nodes - 1):
                made.add_node(**NODE)
            made.wait_for_nodes()
            yield made
        finally:
            made.shutdown()


def start(run: Run, address: str, trials: int) -> subprocess.Popen[str]:
    return drive(address, SCRIPT, str(run.folder), str(trials))


def drive(address: str, script: str, *arguments: str) -> subprocess.Popen[str]:
    """A script on the cluster."""
    environment = {
        **os.environ,
        "PYTHONPATH": MODULES,
        "RAY_ADDRESS": address,
        "RAY_gcs_rpc_server_reconnect_timeout_s": "3",  # after which a driver holds the head for lost
    }
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def wait_until(process: subprocess.Popen[str], is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "it takes too long"
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)


def evaluations(run: Run) -> int:
    return len(run.evaluated) if (run.folder / "log").exists() else 0


def assert_whole(run: Run, trials: int, lost: int) -> None:
    stored = run.on_disk.trials
    assert len({trial.user_attrs["key"] for trial in stored}) == len(stored)
    assert len(run.trials(TrialState.COMPLETE)) == trials
    assert len(run.evaluated) <= trials + lost


@pytest.mark.timeout(BUSY_S)
def test_a_node_that_is_lost_is_done_without_and_one_that_joins_is_used(run: Run) -> None:
    with cluster(3) as made:
        process = start(run, made.address, 300)
        wait_until(process, lambda: evaluations(run) > 30)
        made.remove_node(made.list_all_nodes()[-1], allow_graceful=False)
        wanted = min(evaluations(run) + 20, HOLD)  # the others are held
        wait_until(process, lambda: evaluations(run) >= wanted)
        made.add_node(**NODE)
        wait_until(process, lambda: len((run.folder / "nodes").read_text().split()) > 3)
        (run.folder / "go on").touch()
        err = process.communicate(timeout=PATIENCE_S)[1]
        assert process.returncode == 0, err
    nodes = (run.folder / "nodes").read_text().split()
    assert len(set(nodes)) == 4
    assert_whole(run, 300, lost=2 * 16)


@pytest.mark.timeout(BUSY_S)
def test_nodes_that_are_lost_while_their_workers_start_are_no_fault_of_the_workers(run: Run) -> None:
    begun, losses = run.folder / "nodes", 4  # more than there may be deaths of workers
    hang = f"time.sleep(3600 if len((folder / 'nodes').read_text().split()) <= {losses} else 0)"
    script = SCRIPT.replace("    return evaluate", f"    {hang}\n    return evaluate")
    with cluster(2, head_cpus=0) as made:
        process = drive(made.address, script, str(run.folder), "20")
        for lost in range(losses):
            wait_until(process, lambda lost=lost: begun.exists() and len(begun.read_text().split()) > lost)  # type: ignore[misc]
            made.remove_node(made.list_all_nodes()[-1], allow_graceful=False)
            made.add_node(**NODE)
        err = process.communicate(timeout=PATIENCE_S)[1]
        assert process.returncode == 0, err
    assert_whole(run, 20, lost=0)


@pytest.mark.timeout(BUSY_S)
def test_after_the_head_was_lost_the_same_command_goes_on_on_another_one(run: Run) -> None:
    with cluster(2) as made:
        process = start(run, made.address, 200)
        wait_until(process, lambda: evaluations(run) > 30)
    err = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode != 0, err
    known = len(run.trials(TrialState.COMPLETE))
    assert known
    (run.folder / "go on").touch()
    with cluster(2) as made:
        process = start(run, made.address, 200)
        err = process.communicate(timeout=PATIENCE_S)[1]
        assert process.returncode == 0, err
    assert_whole(run, 200, lost=2 * 2 * 16)


@pytest.mark.timeout(BUSY_S)
def test_training_goes_on_from_its_checkpoint_where_a_node_is_lost_and_another_joins(tmp_path: Path) -> None:
    alone, shared = trained(tmp_path / "alone"), trained(tmp_path / "shared", devices=2)
    last = shared.files.training / LAST_CHECKPOINT
    with cluster(3, head_cpus=0) as made:  # a rank on each of two nodes
        process = drive(made.address, TRAIN, str(tmp_path / "shared"))
        wait_until(process, last.exists)
        made.remove_node(made.list_all_nodes()[-1], allow_graceful=False)
        steps = [torch.load(last, weights_only=True)["global_step"]]
        made.add_node(**NODE)
        while process.poll() is None:
            steps.append(torch.load(last, weights_only=True)["global_step"] if last.exists() else 40)
            time.sleep(0.02)
        err = process.communicate()[1]
        assert process.returncode == 0, err
    assert 0 < steps[0] < 40  # of 2 epochs, 5 steps, 4 networks
    assert steps == sorted(steps), "it began again"
    assert "all start again from the last checkpoint" in err
    train_supernet(alone)
    one, two = (read_supernet(sweep.files.supernet).state_dict() for sweep in (alone, shared))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-3, atol=1e-5, msg=name)
