"""A cluster of three hosts as `ray up` makes it, on one machine: a sweep is submitted, a host lost, all comes back."""

from __future__ import annotations

import csv
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from hosts import ROOT, Hosts, missing
from patience import PATIENCE_S

pytestmark = [pytest.mark.timeout(1500), pytest.mark.skipif(bool(missing()), reason=missing() or "-")]
RAY = "--num-cpus=1 --object-store-memory=150000000"
# A terminal around a command, in which Ctrl-C is pressed once there is a file named `stop`.
TERMINAL = f"{sys.executable} {Path(__file__).with_name('terminal.py')} stop"
LEFT = "ps -eo args | grep -v grep | grep -e SWEEP.yaml -e ray::Worker || true"
SPACE: dict[str, Any] = {
    "input": {"channels": 1, "resolution": 8, "classes": 10},
    "stages": [{"depth": [1, 2], "width": [8, 16, 24, 32], "token_kernel": [3, 5], "expansion": [1, 2, 3, 4]}] * 2,
}


def cluster_file(hosts: Hosts, trials: int) -> str:
    """What `sweeps/local_cluster.yaml` is, with the addresses of the hosts and a sweep of a minute."""
    content = yaml.safe_load((ROOT / "sweeps" / "local_cluster.yaml").read_text())
    _, head, *workers = hosts.names
    content["provider"] |= {"head_ip": hosts.address[head], "worker_ips": [hosts.address[name] for name in workers]}
    content["auth"] = {"ssh_user": "root", "ssh_private_key": "~/.ssh/id"}
    content |= {"cluster_name": "small", "file_mounts": {}, "setup_commands": []}
    for key, start in (("head_start_ray_commands", "--head"), ("worker_start_ray_commands", "--address")):
        content[key] = [line.replace(f"ray start {start}", f"ray start {RAY} {start}") for line in content[key]]
    content["metadata"]["sweep"] |= {
        "search_space": SPACE,
        "train": {"epochs": 1},
        "latency": {"rounds": 3, "noisy": True},
        "search": {
            "engine": "ray",
            "workers": 3,
            "trials": trials,
            "sampler": {"class_path": "RandomSampler", "init_args": {}},
        },
        "export": {"top": 2},
    }
    return yaml.safe_dump(content)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with Hosts(tmp_path_factory.mktemp("hosts"), ["laptop", "head", "w1", "w2"]) as made:
        yield made


def trials_in(folder: Path) -> list[dict[str, str]]:
    with (folder / "candidates.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def evaluated(folder: Path) -> int:
    """Trials in the study, read while it is written."""
    try:
        with closing(sqlite3.connect(f"file:{folder / 'study.db'}?mode=ro", uri=True)) as connection:
            return int(connection.execute("select count(*) from trials").fetchone()[0])
    except sqlite3.Error:
        return 0


def _when(process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 900
    while process.poll() is None and not ready() and time.monotonic() < deadline:
        time.sleep(0.2)


def test_submitted_it_runs_on_all_hosts_loses_one_and_comes_back_whole(hosts: Hosts) -> None:
    file = hosts.home("laptop") / "small.yaml"
    file.write_text(cluster_file(hosts, trials=300))
    process = hosts.start("laptop", "ffnet-search submit small.yaml")
    _when(process, lambda: evaluated(hosts.home("head") / "runs" / "small") >= 10)
    hosts.cut_off("w2")
    out = process.communicate(timeout=PATIENCE_S)[0]
    assert process.returncode == 0, out
    folder = hosts.home("laptop") / "runs" / "small"
    rows = trials_in(folder)
    assert len(rows) == len({row["key"] for row in rows}) == 300, out
    with closing(sqlite3.connect(folder / "study.db")) as connection:
        assert dict(connection.execute("select state, count(*) from trials group by state")) == {"COMPLETE": 300}
    assert list(folder.glob("pareto/01-*/model.onnx"))

    # Ctrl-C here is Ctrl-C there, as in a terminal: ssh and all that runs at the other end are of its foreground.
    stopped = hosts.start("laptop", f"exec {TERMINAL} ffnet-search submit --name stopped --trials 5000 small.yaml")
    there = hosts.home("head") / "runs" / "stopped"
    _when(stopped, lambda: evaluated(there) >= 10)
    (hosts.home("laptop") / "stop").touch()
    said = stopped.communicate(timeout=PATIENCE_S)[0]
    assert stopped.returncode != 0, said
    assert "stopped; results so far are kept in runs/stopped; to resume: submit it again" in said, said
    assert "to resume: ffnet-search submit --name stopped --trials 5000 small.yaml" in said
    assert "fetched runs/stopped" in said
    deadline = time.monotonic() + 60
    while any(hosts.run(name, LEFT).stdout.strip() for name in ("head", "w1")) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not any(hosts.run(name, LEFT).stdout.strip() for name in ("head", "w1")), "it continues at the other end"
    kept = evaluated(there)
    assert 10 <= kept < 5000
    assert "search (3 of 4)" in said
    again = hosts.run("laptop", f"ffnet-search submit --name stopped --trials {kept + 5} small.yaml")
    assert again.returncode == 0, again.stdout
    assert len(trials_in(hosts.home("laptop") / "runs" / "stopped")) == kept + 5

    # The plain way: the script alone travels, so the head reads its own copy of the file.
    (hosts.home("laptop") / "run.py").write_text((ROOT / "sweeps" / "run.py").read_text())
    again = hosts.run("laptop", "ray submit small.yaml run.py")
    assert again.returncode == 0, again.stdout
    assert "sweep small, digest" in again.stdout
    assert "search (3 of 4): done before and unchanged" in again.stdout

    if hosts.run("head", "command -v tmux").returncode == 0:
        detached = hosts.run("laptop", "ffnet-search submit --detach --name later --trials 20 small.yaml")
        assert detached.returncode == 0, detached.stdout
        report = hosts.home("head") / "runs" / "later" / "report.html"
        deadline = time.monotonic() + 400
        while not report.exists() and time.monotonic() < deadline:
            time.sleep(1)
        (bring,) = (line.strip() for line in detached.stdout.splitlines() if "rsync-down" in line)
        assert hosts.run("laptop", f"mkdir -p runs/later && {bring}").returncode == 0
        assert len(trials_in(hosts.home("laptop") / "runs" / "later")) == 20, detached.stdout

    down = hosts.run("laptop", "timeout 120 ray down -y small.yaml")
    assert down.returncode == 0, down.stdout

    hosts.cut_off("head")
    off = hosts.run("laptop", "ffnet-search submit small.yaml")
    assert off.returncode == 2
    assert f"ssh must reach the head, root@{hosts.address['head']}" in off.stdout, off.stdout
