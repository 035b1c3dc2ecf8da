"""A sweep through the job server of a cluster that is there already: `ray job submit`, on ports of our own."""

from __future__ import annotations

import csv
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
RAY = str(Path(sys.executable).with_name("ray"))
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 2}
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(find_spec("opencensus") is None, reason="the job server is in ray[default]"),
]


def environment(**more: str) -> dict[str, str]:
    """An environment without a cluster: RAY_ADDRESS, which other tests set, overrides `--address`."""
    here = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}
    return {**here, **TOKEN, **more}


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


@pytest.fixture
def job_server(tmp_path: Path) -> Iterator[str]:
    """The address of a head's job server, which knows who has its token."""
    port, dashboard, client, agent, listen, grpc = free_ports(6)
    command = [RAY, "start", "--head", "--block", "--include-dashboard=true", "--disable-usage-stats"]
    command += ["--num-cpus=2", "--object-store-memory=100000000", "--node-ip-address=127.0.0.1"]
    command += [f"--port={port}", f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}"]
    command += [f"--dashboard-agent-listen-port={listen}", f"--dashboard-agent-grpc-port={grpc}"]
    command += [f"--metrics-export-port={agent}"]
    apart = environment(RAY_enable_metrics_collection="0")
    with (tmp_path / "head.log").open("wb") as log:
        head = subprocess.Popen(command, stdout=log, stderr=log, env=apart, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{dashboard}"
        deadline = time.monotonic() + 120
        while True:
            listed = subprocess.run(
                [RAY, "job", "list", "--address", address], capture_output=True, text=True, env=environment()
            )
            if listed.returncode == 0:
                break
            log_text = (tmp_path / "head.log").read_text()
            assert head.poll() is None and time.monotonic() < deadline, log_text + listed.stdout + listed.stderr
            time.sleep(1)
        yield address
    finally:
        head.kill()
        head.wait()
        deadline = time.monotonic() + 30
        while left := of_cluster(port):  # its workers see that it is gone
            for process in left:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            assert time.monotonic() < deadline, left
            time.sleep(0.2)


def of_cluster(port: int) -> list[int]:
    """Ids of the processes of the cluster whose head listens there."""
    found = []
    for path in (path for path in Path("/proc").iterdir() if path.name.isdigit()):
        with suppress(OSError):
            words = (path / "cmdline").read_text()
            if re.search(rf"(gcs[-_]address=[\d.]+:|gcs_server_port=|--port=){port}\b", words):
                found.append(int(path.name))
    return found


def test_a_submitted_job_runs_the_sweep_on_the_clusters_workers(job_server: str, tmp_path: Path) -> None:
    work, runs = tmp_path / "work", tmp_path / "runs"
    (work / "sweeps").mkdir(parents=True)
    (work / "ffnet_search").symlink_to(ROOT / "ffnet_search")
    sweep = {
        "search_space": {
            "input": {"channels": 1, "resolution": 8, "classes": 10},
            "stages": [{"depth": [1, 2], "width": [8, 16, 24], "token_kernel": [3, 5], "expansion": [1, 2]}] * 2,
        },
        "data": {"name": "digits"},
        "train": {"epochs": 1},
        "latency": {"rounds": 3, "noisy": True},
        "search": {"engine": "ray", "workers": 2, "trials": 30},
        "export": {"top": 1},
        "runs": str(runs),
    }
    (work / "sweeps" / "small.yaml").write_text(yaml.safe_dump(sweep))
    command = [RAY, "job", "submit", "--address", job_server, "--working-dir", str(work), "--"]
    command += [sys.executable, "-m", "ffnet_search", "run", "sweeps/small.yaml"]
    ran = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "succeeded" in ran.stdout
    with (runs / "small" / "candidates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({row["key"] for row in rows}) == 30
    assert {row["state"] for row in rows} == {"evaluated"}
    assert list((runs / "small").glob("pareto/01-*/model.onnx"))
    assert "workers busy" in ran.stdout + ran.stderr  # it found the cluster's, and did not start a Ray of its own
