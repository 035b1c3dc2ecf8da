"""TensorBoard's files on a disk that fails: tensorboardX's thread ends with a traceback, and its queue fills."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from ffnet_search.config.schema import TrainSection
from ffnet_search.errors import SweepError
from ffnet_search.training import loggers
from ffnet_search.training.trainer import run_trainer

pytest.importorskip("tensorboardX")


class Talkative(LightningModule):
    """Logs more a step than the queue of tensorboardX holds by default."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        loss = self.layer(batch[0]).square().mean()
        self.log_dict({f"value{number}": loss for number in range(20)})
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Data(LightningDataModule):
    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.ones(200, 2)), 10)


def refusing(number: int, *, main: bool) -> object:
    """`os.fsync` that fails, in threads only or in the `main` one too."""
    fsync = os.fsync

    def refuse(file: int) -> None:
        if main or threading.current_thread() is not threading.main_thread():
            raise OSError(number, os.strerror(number))
        fsync(file)

    return refuse


@pytest.mark.timeout(60)
def test_a_training_ends_where_tensorboards_thread_cannot_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It waited for room in the queue without end, after a traceback."""
    monkeypatch.setattr(os, "fsync", refusing(errno.ENOSPC, main=False))
    often = {"class_path": "lightning.pytorch.loggers:TensorBoardLogger", "init_args": {"flush_secs": 0.01}}
    recipe = TrainSection.model_validate({"epochs": 50, "loggers": [often]})
    with pytest.raises(SweepError, match="TensorBoard's files cannot be written: No space left on device; see to it"):
        run_trainer(Talkative(), Data(), recipe, tmp_path, [])
    assert threading.excepthook is not None and "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(("number", "kinds"), [(errno.EINVAL, 1), (errno.EIO, 2)])
def test_without_fsync_there_are_no_curves_and_that_is_said_once(
    number: int, kinds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each training failed: `a file: Invalid argument`. A broken disk is no such file system."""
    monkeypatch.setattr(os, "fsync", refusing(number, main=True))
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: name == "tensorboardX" or None)
    loggers.say_no_curves.cache_clear()
    made = [loggers.make_loggers(TrainSection(), tmp_path) for _ in range(2)]
    assert [len(some) for some in made] == [kinds] * 2 and isinstance(made[0][0], CSVLogger)
    assert capfd.readouterr().err.count("TensorBoard gets no curves") == (number == errno.EINVAL)


CODE = """
import atexit, sys
from ffnet_search.cli.app import main
def close():
    raise {error}
atexit.register(close)
sys.argv[1:] = ["{verb}"]
main()
"""


@pytest.mark.parametrize(
    ("error", "verb", "lines", "words"),
    [
        ("OSError(28, 'No space left on device')", "--version", 1, "a file of a library was not written to its end"),
        ("OSError(2, 'No such file')", "check", 2, "Missing argument"),
        ("KeyError('a bug')", "--version", 4, "Traceback"),
    ],
)
def test_a_library_that_cannot_close_its_file_at_the_end_is_one_line(
    error: str, verb: str, lines: int, words: str, tmp_path: Path
) -> None:
    program = [sys.executable, "-c", CODE.format(error=error, verb=verb)]
    done = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == (2 if verb == "check" else 0)
    assert len(done.stderr.splitlines()) == lines and words in done.stderr, done.stderr
