"""Training on several ranks of this machine, each a process of its own: `python -m ffnet_search.training.ranks`.

Lightning's launchers run the caller's `__main__` again, which may be an archive, a notebook or a script without guard.
Here a rank is handed the sweep instead, on a pipe that also tells it when its parent is gone. A rank that is killed
ends the others, and all start again from the last checkpoint.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.progress import say
from ffnet_search.training.fit import train_supernet
from ffnet_search.training.trainer import TrainerPlacement

RESTARTS = 3  # after ranks were killed, before their death is held to be the sweep's own
LOOK_EVERY_S = 0.1
MISTAKE, BUG = 2, 1  # exit codes of a rank


class SharedStep(DDPStrategy):
    """Lightning's DDP, with no DistributedDataParallel around the module: `ranks` reduces the gradients."""

    def configure_ddp(self) -> None:
        pass


def train_on_ranks(sweep: Sweep) -> Path:
    """`train_supernet` on `train.devices` ranks, or on as many GPUs as there are. Raises what it raises."""
    count = fitting(sweep, torch.cuda.device_count() or sweep.train.devices)
    if count == 1:
        return train_supernet(sweep)
    if count < sweep.train.devices:
        say(f"train: on {count} of the {sweep.train.devices} GPUs that train.devices asks for, which are here")
    for _ in range(RESTARTS):
        killed = _run(sweep, count)
        if not killed:
            return sweep.files.supernet
        say(f"train: {killed}; all ranks start again from the last checkpoint")
    raise SweepError(
        f"{sweep.path}: {killed}, for the {RESTARTS}th time; where it was for want of memory, lower data.batch_size "
        f"({sweep.data.batch_size}) or train.devices ({count})"
    )


def fitting(sweep: Sweep, available: int) -> int:
    """How many ranks: at most those that are available, and with equal shares of a batch."""
    most = min(sweep.train.devices, available)
    return next(count for count in range(most, 0, -1) if sweep.data.batch_size % count == 0)


def _run(sweep: Sweep, count: int) -> str:
    """All ranks once. Returns who was killed, empty where they finished."""
    ranks = [_start(sweep, rank, count, port) for port in [_free_port()] for rank in range(count)]
    try:
        while any(rank.poll() is None for rank in ranks) and not any(rank.poll() for rank in ranks):
            time.sleep(LOOK_EVERY_S)
        ended = {number: rank.poll() for number, rank in enumerate(ranks) if rank.poll()}
    finally:
        for rank in ranks:
            rank.kill()
    said = {number: rank.communicate()[0] for number, rank in enumerate(ranks)}
    for number, code in ended.items():
        if code == MISTAKE:
            raise SweepError(said[number])
    for number, code in ended.items():
        if code is not None and code < 0:  # before those who raised: without it they have lost their partner
            return f"rank {number} of {count} was killed by signal {-code}"
    for number in ended:
        raise RuntimeError(f"rank {number} of {count} failed:\n{said[number]}")
    return ""


def _start(sweep: Sweep, rank: int, count: int, port: int) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),  # this very code, wherever it was imported from
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count))),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", __name__],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if rank == 0 else subprocess.DEVNULL,  # the first one tells how far they are
        text=True,
        start_new_session=True,  # Ctrl-C is for the parent, which ends them
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"path": str(sweep.path), "sweep": sweep.model_dump(mode="json")}) + "\n")
    process.stdin.flush()  # and left open
    return process


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(BUG)


def main() -> None:
    """One rank; its place is in the environment, as of `torchrun`."""
    content = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sweep = Sweep.from_content(content["sweep"], Path(content["path"]))
    try:
        strategy = SharedStep(cluster_environment=TorchElasticEnvironment())
        train_supernet(sweep, TrainerPlacement({"devices": int(os.environ["WORLD_SIZE"]), "strategy": strategy}))
    except SweepError as error:
        print(error)
        sys.exit(MISTAKE)
    except Exception:
        print(traceback.format_exc())
        sys.exit(BUG)


if __name__ == "__main__":
    main()
