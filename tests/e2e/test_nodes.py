"""Nodes of a cluster that are lost, come back, or take the whole cluster with them: three on one machine."""

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
from optuna.trial import TrialState
from test_search import Run, run  # noqa: F401 (a fixture)

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys, time
from functools import partial
from pathlib import Path
from tests.test_search import CHEAP, DIGITS, Accuracy
from ffnet_search.search import search
from ffnet_search.sections import SearchSection

def make(folder):
    import ray
    node, evaluate = ray.get_runtime_context().get_node_id(), Accuracy(folder / "log", sleep_s=0.05)
    with (folder / "nodes").open("a") as file:
        file.write(node + "\\n")
    return evaluate

folder = Path(sys.argv[1])
section = SearchSection(engine="ray", trials=int(sys.argv[2]))
search(DIGITS, partial(make, folder), CHEAP, section, folder / "study.db", folder / "candidates.csv", digest="d")
"""


@contextmanager
def cluster(nodes: int) -> Iterator[Any]:
    """Of nodes with a CPU each; `address` names it."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=node)
    try:
        for _ in range(nodes - 1):
            made.add_node(**node)
        made.wait_for_nodes()
        yield made
    finally:
        made.shutdown()


def start(run: Run, address: str, trials: int) -> subprocess.Popen[str]:  # noqa: F811
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "RAY_ADDRESS": address,
        "RAY_gcs_rpc_server_reconnect_timeout_s": "3",  # after which a driver holds the head for lost
    }
    script = [sys.executable, "-c", SCRIPT, str(run.folder), str(trials)]
    return subprocess.Popen(script, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def wait_until(process: subprocess.Popen[str], is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < deadline, "it takes too long"
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)


def evaluations(run: Run) -> int:  # noqa: F811
    return len(run.evaluated) if (run.folder / "log").exists() else 0


def assert_whole(run: Run, trials: int, lost: int) -> None:  # noqa: F811
    stored = run.on_disk.trials
    assert len({trial.user_attrs["key"] for trial in stored}) == len(stored)
    assert len(run.trials(TrialState.COMPLETE)) == trials
    assert len(run.evaluated) <= trials + lost


@pytest.mark.timeout(400)
def test_a_node_that_is_lost_is_done_without_and_one_that_joins_is_used(run: Run) -> None:  # noqa: F811
    with cluster(3) as made:
        process = start(run, made.address, 800)
        wait_until(process, lambda: evaluations(run) > 30)
        made.remove_node(made.list_all_nodes()[-1], allow_graceful=False)
        seen = evaluations(run)
        wait_until(process, lambda: evaluations(run) > seen + 20)
        joined = made.add_node(num_cpus=1, object_store_memory=80_000_000)
        wait_until(process, lambda: joined.unique_id and len((run.folder / "nodes").read_text().split()) > 3)
        err = process.communicate(timeout=200)[1]
        assert process.returncode == 0, err
    nodes = (run.folder / "nodes").read_text().split()
    assert len(set(nodes)) == 4
    assert_whole(run, 800, lost=2 * 16)


@pytest.mark.timeout(400)
def test_after_the_head_was_lost_the_same_command_goes_on_on_another_one(run: Run) -> None:  # noqa: F811
    with cluster(2) as made:
        process = start(run, made.address, 200)
        wait_until(process, lambda: evaluations(run) > 30)
    err = process.communicate(timeout=120)[1]
    assert process.returncode != 0, err
    known = len(run.trials(TrialState.COMPLETE))
    assert known
    with cluster(2) as made:
        process = start(run, made.address, 200)
        err = process.communicate(timeout=200)[1]
        assert process.returncode == 0, err
    assert_whole(run, 200, lost=2 * 2 * 16)
