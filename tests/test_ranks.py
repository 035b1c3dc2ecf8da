"""Training on several ranks: the same as on one, also where a rank is killed on the way."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from test_supernet import sweep

from ffnet_search.config.inputs import train_inputs
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.training.fit import LAST, read_supernet, train_supernet
from ffnet_search.training.ranks import fitting, train_on_ranks


def trained(runs: Path, devices: int = 1, **train: object) -> Sweep:
    """Of two epochs, each of 10 batches in 5 steps; with SGD, since Adam makes a gradient of rounding errors a step."""
    run = sweep(runs, devices=devices, epochs=2, optimizer="sgd", learning_rate=0.05, accumulate=2, **train)
    augmented = run.data.model_dump() | {"augment": {"crop": 1, "flip": True, "cutout": 2}}
    return Sweep.model_validate(run.model_dump() | {"data": augmented})


def ranks_of_this_process() -> dict[str, int]:
    """RANK -> process id."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            found |= {entry.decode(): int(child) for entry in environment if entry.startswith(b"RANK=")}
    return found


@pytest.mark.slow
def test_two_ranks_of_which_one_is_killed_train_what_one_does(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    alone, shared = trained(tmp_path / "alone"), trained(tmp_path / "shared", devices=2, checkpoint_minutes=1e-4)
    last = shared.files.training / LAST
    killed: list[int] = []

    def kill() -> None:
        deadline = time.monotonic() + 120
        while not last.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(ranks_of_this_process()["RANK=1"], signal.SIGKILL)
        killed.append(torch.load(last, weights_only=True)["global_step"])

    killer = threading.Thread(target=kill)
    killer.start()
    train_on_ranks(shared)
    killer.join()
    assert 0 < killed[0] < 10
    said = capfd.readouterr().err
    assert said.count("rank 1 of 2 was killed by signal 9; all ranks start again from the last checkpoint") == 1
    train_supernet(alone)
    one, two = (read_supernet(run.files.supernet).state_dict() for run in (alone, shared))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-3, atol=1e-5, msg=name)


def test_a_mistake_that_a_rank_meets_is_the_users(tmp_path: Path) -> None:
    run = trained(tmp_path, devices=2)
    run.files.training.mkdir(parents=True)
    (run.files.training / LAST).write_bytes(b"broken")
    with pytest.raises(SweepError, match=r"last.ckpt: is not a checkpoint .*delete it"):
        train_on_ranks(run)


def test_devices_change_neither_the_shares_nor_the_digest(tmp_path: Path) -> None:
    four = sweep(tmp_path, devices=4)
    assert train_inputs(four) == train_inputs(sweep(tmp_path))
    assert [fitting(four, available) for available in (1, 2, 3, 4, 8)] == [1, 2, 2, 4, 4]
    with pytest.raises(ValueError, match=r"batch_size must be a multiple of train.devices.*got 128 for 3"):
        sweep(tmp_path, devices=3)
