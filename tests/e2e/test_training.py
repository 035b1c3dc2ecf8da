"""Supernet training by Ray Train: the same as on one device, also where a rank is killed on the way."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from test_ranks import trained

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.training.fit import LAST, read_supernet, train_supernet
from ffnet_search.training.ray_train import train_on_cluster

pytestmark = pytest.mark.usefixtures("ray_cluster")


def on_cluster(runs: Path, search: dict[str, object], **train: object) -> Sweep:
    run = trained(runs, devices=2, checkpoint_minutes=1e-4, **train)
    return Sweep.model_validate(run.model_dump() | {"search": {"engine": "ray", **search}})


def train_workers(address: str) -> list[int]:
    """Process ids of the ranks on the Ray at `address`."""
    found = []
    for process in (path for path in Path("/proc").iterdir() if path.name.isdigit()):
        try:
            title, parent = (
                (process / "cmdline").read_bytes(),
                (process / "stat").read_text().rsplit(")", 1)[1].split()[1],
            )
            if title.startswith(b"ray::RayTrainWorker") and address in Path(f"/proc/{parent}/cmdline").read_text():
                found.append(int(process.name))
        except OSError:
            pass
    return found


def test_two_workers_of_which_one_is_killed_train_what_one_process_does(
    tmp_path: Path, ray_cluster: str, capfd: pytest.CaptureFixture[str]
) -> None:
    alone, shared = trained(tmp_path / "alone"), on_cluster(tmp_path / "shared", {})
    last = shared.files.training / LAST
    killed: list[int] = []

    def kill() -> None:
        deadline = time.monotonic() + 120
        while not last.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(train_workers(ray_cluster)[-1], signal.SIGKILL)
        killed.append(torch.load(last, weights_only=True)["global_step"])

    killer = threading.Thread(target=kill)
    killer.start()
    train_on_cluster(shared)
    killer.join()
    assert 0 < killed[0] < 10
    out, said = capfd.readouterr()
    assert said.count("all start again from the last checkpoint") == 1
    assert not out, "Ray is to be silent"
    train_supernet(alone)
    one, two = (read_supernet(run.files.supernet).state_dict() for run in (alone, shared))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-3, atol=1e-5, msg=name)


def test_a_mistake_that_a_rank_meets_is_the_users(tmp_path: Path) -> None:
    run = on_cluster(tmp_path, {})
    run.files.training.mkdir(parents=True)
    (run.files.training / LAST).write_bytes(b"broken")
    with pytest.raises(SweepError, match=r"last.ckpt: is not a checkpoint .*delete it"):
        train_on_cluster(run)
