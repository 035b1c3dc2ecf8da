"""Training on several ranks of this machine, each a process: `python -m ffnet_search.training.ranks`.

A rank reads the sweep from a pipe, whose end also reports the death of its parent. A rank that dies ends the others,
and all start again from the last checkpoint. Other launchers are not suitable:

- Lightning's run the caller's `__main__` again, which may be an archive, a notebook or a script without guard.
- torch.distributed.launcher (tried with 2.13) cannot resume: the ranks that it restarts meet the dead rank's address in
  the agent's store and fail. It repeats user errors like deaths, replaces this process's signal handlers, and its ranks
  outlive a parent that was killed.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.files.cores import usable_cores
from ffnet_search.files.temporary import scratch_folder
from ffnet_search.formatting import plural
from ffnet_search.imports.consent import current_policy, set_foreign_imports
from ffnet_search.progress import say
from ffnet_search.training.fit import train_supernet
from ffnet_search.training.trainer import TrainerPlacement

HOST = "127.0.0.1"
STARTS = 3  # of all ranks; the last death is an error of the sweep
POLL_S = 0.1
USER_ERROR, BUG = 2, 1  # exit codes of a rank
STANDARD_ERROR = 2  # file descriptor


class SharedStep(DDPStrategy):
    """Lightning's DDP without DistributedDataParallel around the module: `models.parallel` reduces the gradients."""

    def configure_ddp(self) -> None:
        pass


def train_on_ranks(sweep: Sweep) -> Path:
    """`train_supernet` on `train.devices` ranks, or on as many GPUs as exist. Raises what it raises."""
    wanted = sweep.train.devices
    count = rank_count(sweep, torch.cuda.device_count() or wanted)
    if count < wanted:
        say(f"train: using {plural(count, 'device')}; train.devices asks for {wanted}")
    if count == 1:
        return train_supernet(sweep)
    for start in range(1, STARTS + 1):
        death = _train_once(sweep, count)
        if not death:
            break
        if start == STARTS:
            raise SweepError(
                f"{sweep.path}: {death}, for the {STARTS}rd time; if memory ran out, lower data.batch_size "
                f"({sweep.data.batch_size}) or train.devices ({count})"
            )
        say(f"train: {death}; all ranks start again from the last checkpoint")
    return sweep.files.supernet


def rank_count(sweep: Sweep, available: int) -> int:
    """The largest number of ranks that is wanted, available, and gives equal shares of a batch."""
    most = min(sweep.train.devices, available)
    return next(count for count in range(most, 0, -1) if sweep.data.batch_size % count == 0)


def _train_once(sweep: Sweep, count: int) -> str:
    """Start all ranks and wait for them. Return how one died, in words; empty if all finished.

    Raises SweepError for a user error in a rank, RuntimeError with its traceback for a bug."""
    store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False)  # where the ranks meet, at a port that is free
    with scratch_folder() as folder:
        reports = [Path(folder, str(rank)) for rank in range(count)]
        with ExitStack() as running:
            processes = []
            for rank, report in enumerate(reports):
                processes.append(running.enter_context(_running(sweep, rank, count, store.port, report)))
            while True:
                codes = [process.poll() for process in processes]
                if any(codes) or None not in codes:
                    break
                time.sleep(POLL_S)
        failed = {rank: code for rank, code in enumerate(codes) if code}
        for rank, code in failed.items():
            if code == USER_ERROR:
                raise SweepError(reports[rank].read_text(encoding="utf-8"))
        for rank, code in failed.items():
            if code < 0:  # before a bug: the others fail because they have lost this one
                return f"rank {rank} was killed by signal {-code}"
        for rank, code in failed.items():
            words = reports[rank].read_text(encoding="utf-8") if reports[rank].exists() else f"exit code {code}"
            raise RuntimeError(f"rank {rank} failed:\n{words}")
        return ""


@contextmanager
def _running(sweep: Sweep, rank: int, count: int, port: int, report: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start one of `count` ranks, which writes its error to `report`; kill it at the end."""
    environment = {
        "OMP_NUM_THREADS": str(max(1, usable_cores() // count)),
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),  # the same code, wherever it was imported from
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # that of this process
        "WORLD_SIZE": str(count),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
    }
    output = STANDARD_ERROR if rank == 0 else subprocess.DEVNULL  # the first one shows the progress of all
    process = subprocess.Popen(
        [sys.executable, "-m", __name__],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        start_new_session=True,  # Ctrl-C is for the parent, which ends them
    )
    try:
        assert process.stdin is not None
        process.stdin.write(pickle.dumps((sweep, report, current_policy())))
        process.stdin.flush()  # and left open: it ends with the parent
        yield process
    finally:
        process.kill()
        process.communicate()


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # unbuffered: a buffer's lock could not be had at the end of the interpreter
    os._exit(BUG)


def main() -> None:
    """Run one rank; its place is in the environment, as of `torchrun`."""
    sweep, report, policy = pickle.load(sys.stdin.buffer)  # noqa: S301 (from our parent)
    set_foreign_imports(policy)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        strategy = SharedStep(cluster_environment=TorchElasticEnvironment())
        train_supernet(sweep, TrainerPlacement({"devices": int(os.environ["WORLD_SIZE"]), "strategy": strategy}))
    except SweepError as error:
        report.write_text(str(error), encoding="utf-8")
        sys.exit(USER_ERROR)
    except Exception:
        report.write_text(traceback.format_exc(), encoding="utf-8")
        sys.exit(BUG)


if __name__ == "__main__":
    main()
