"""Training that learns, resumes after a kill, and names the errors of the user."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from networks import REPO, space
from tiny_sweep import sweep
from training_steps import ObservedStep, assert_trained

from ffnet_search.config.files import LAST_CHECKPOINT
from ffnet_search.data.registry import build_data
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.evaluation.judge import quality
from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.saved import read_supernet, write_supernet
from ffnet_search.progress import progress
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.tasks.base import find_task
from ffnet_search.training.callbacks.progress import TrainingProgress
from ffnet_search.training.fit import train_architecture, train_supernet
from ffnet_search.training.modules import FFNetModule
from ffnet_search.training.trainer import has_fast_bf16, quiet_lightning

CLASSIFICATION = find_task("classification")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": "sgd", "learning_rate": 0.05},
        {"mixup": 0.2, "cutmix": 1.0, "drop_path": 0.1, "ema": 0.99, "accumulate": 2},
    ],
)
def test_training_learns_and_evaluation_inherits(tmp_path: Path, options: dict[str, object]) -> None:
    run = sweep(tmp_path, **options)
    data = build_data(run.data, run.seed, run.search_space.largest.input)
    net = read_supernet(train_supernet(run))
    evaluate = Evaluator(net, data)
    untrained = Evaluator(MetaMixer.for_space(run.search_space, run.train.form), data)
    for arch in (run.search_space.largest, run.search_space.smallest):
        candidate = evaluate(Configuration(arch))
        assert candidate.metrics["accuracy"] > max(0.3, untrained(Configuration(arch)).metrics["accuracy"] + 0.1)
        assert candidate.metrics["macs_m"] == arch.macs_m
        assert evaluate(Configuration(arch)) == candidate
    assert (run.files.training / "logs").is_dir()


def test_one_network_trains_alone(tmp_path: Path, steps: list[ObservedStep]) -> None:
    run = sweep(tmp_path)
    data = build_data(run.data, run.seed, run.search_space.largest.input)
    net = MetaMixer.for_space(run.search_space, run.train.form).slice_to(run.search_space.smallest)
    recalibrate(net, data.calibration)  # which leaves it in evaluation mode
    before = quality(fuse(net), data.val_dataloader(), CLASSIFICATION)
    recipe = run.train.model_copy(update={"epochs": 5})
    trained = train_architecture(net, data, recipe, tmp_path / "alone", seed=0)
    assert not trained.training
    assert_trained(steps)
    assert quality(trained, data.val_dataloader(), CLASSIFICATION) > before + 0.2


SCRIPT = """
import os, signal, sys
from pathlib import Path

import torch

sys.path[:0] = {paths!r}
from tiny_sweep import sweep

from ffnet_search.training.fit import train_supernet
from ffnet_search.training.modules import FFNetModule

torch.set_num_threads(1)
runs, fatal_step = Path(sys.argv[1]), int(sys.argv[2])
update, updates = FFNetModule.apply_gradients, []


def until_the_fatal_one(self, loss):
    updates.append(self.step)
    if updates.count(fatal_step) == 2:  # of the three of a step
        os.kill(os.getpid(), signal.SIGKILL)
    update(self, loss)


FFNetModule.apply_gradients = until_the_fatal_one
train_supernet(sweep(runs, checkpoint_minutes=1e-5, ema=0.9, drop_path=0.1, mixup=0.2, cutmix=1.0, accumulate=2))
"""


@pytest.mark.slow
def test_killed_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    """A SIGKILL in the middle of an epoch, then the same command: bit-equal to an uninterrupted run."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(paths=[str(REPO / "tests"), str(REPO / "tests/support")]))
    environment = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}

    def run(runs: str, fatal_step: int) -> int:
        command = [sys.executable, str(script), str(tmp_path / runs), str(fatal_step)]
        return subprocess.run(command, env=environment, stderr=subprocess.DEVNULL).returncode

    assert run("whole", -1) == 0
    assert run("killed", 8) == -signal.SIGKILL
    last = torch.load(tmp_path / "killed/tiny/training" / LAST_CHECKPOINT, weights_only=True)
    assert last["global_step"] == 3 * 8  # three networks a step, of 5 steps an epoch
    assert run("killed", -1) == 0
    killed, whole = (read_supernet(tmp_path / runs / "tiny" / "supernet.ckpt") for runs in ("killed", "whole"))
    for (name, ours), theirs in zip(killed.state_dict().items(), whole.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name


class Remembers(Callback):
    """Keeps an object in the checkpoint that is neither a tensor nor a number."""

    def state_dict(self) -> dict[str, Any]:
        return {"where": Path("anywhere")}


def test_a_training_resumes_with_what_a_callback_keeps(tmp_path: Path) -> None:
    run = sweep(tmp_path, epochs=1, callbacks=["test_fit:Remembers"])
    train_supernet(run)
    before = read_supernet(run.files.supernet).state_dict()
    run.files.supernet.unlink()
    after = read_supernet(train_supernet(run)).state_dict()
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())


def test_a_training_that_was_killed_after_its_last_epoch_ends_with_the_average(tmp_path: Path) -> None:
    """Its checkpoint is there, its weights are not yet written, and no step is left to make."""
    run = sweep(tmp_path, epochs=1, ema=0.9)
    train_supernet(run)
    before = read_supernet(run.files.supernet).state_dict()
    run.files.supernet.unlink()
    after = read_supernet(train_supernet(run)).state_dict()
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
    last = torch.load(run.files.training / LAST_CHECKPOINT, weights_only=True)
    assert any(not torch.equal(weight, before[name[4:]]) for name, weight in last["current_model_state"].items()
               if name.startswith("net."))  # fmt: skip


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SweepError("a full disk")], ids=["ctrl-c", "error"])
def test_the_bar_of_a_training_that_is_cut_short_is_closed_and_not_said_to_be_done(error, monkeypatch, capsys) -> None:
    class Ended(Callback):
        def on_train_batch_end(self, *_: object) -> None:
            raise error

    restored = []
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("rich.console.Console.show_cursor", lambda console, show=True: restored.append(show))
    net = BoringModel()
    with quiet_lightning(), pytest.raises((SystemExit, SweepError)):
        Trainer(
            max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, limit_val_batches=0, callbacks=[TrainingProgress("train", progress), Ended()],
        ).fit(net)  # fmt: skip
    assert restored[-1] is True and "took" not in capsys.readouterr().err


@pytest.mark.parametrize("native", [True, False])
def test_bf16_is_for_gpus_that_compute_in_it(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    """Older ones emulate it, which PyTorch counts as support by default."""
    assert torch.cuda.is_available() or not has_fast_bf16()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    assert has_fast_bf16() is native


def test_non_finite_loss_goes_back_once_then_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    run = sweep(tmp_path, epochs=2)
    factors: list[float] = []
    update = FFNetModule.apply_gradients

    def poisoned(self: FFNetModule, loss: torch.Tensor) -> None:
        if self.step == 11 and len(factors) < failures:  # in the second epoch: there is a checkpoint to go back to
            factors.append(self.learning_rate_factor)
            loss = loss * float("nan")
        update(self, loss)

    monkeypatch.setattr(FFNetModule, "apply_gradients", poisoned)
    failures = 1
    train_supernet(run)
    assert factors == [1.0]
    assert "half the learning rate" in capsys.readouterr().err
    assert torch.load(run.files.training / LAST_CHECKPOINT, weights_only=True)["learning_rate_factor"] == 0.5

    factors.clear()
    failures = 2
    again = sweep(tmp_path / "again", epochs=2)
    with pytest.raises(SweepError, match=r"lower train.learning_rate \(0.003\)"):
        train_supernet(again)
    assert factors == [1.0, 0.5]


@pytest.mark.parametrize("content", [b"", b"broken", b"PK\x03\x04 cut off"])
def test_damaged_checkpoints_are_set_aside_or_named(
    tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    run = sweep(tmp_path)
    run.files.training.mkdir(parents=True)
    (run.files.training / LAST_CHECKPOINT).write_bytes(content)
    train_supernet(run)
    assert "last.ckpt is damaged, or no checkpoint" in capfd.readouterr().err
    assert (run.files.training / f"{LAST_CHECKPOINT}.damaged").read_bytes() == content
    run.files.supernet.write_bytes(content)
    with pytest.raises(SweepError, match=r"supernet.ckpt: is not a supernet"):
        read_supernet(run.files.supernet)
    with pytest.raises(SweepError, match="no such file"):
        read_supernet(tmp_path / "nowhere.ckpt")


def test_a_supernet_of_another_space_is_one_sentence(tmp_path: Path) -> None:
    run, other = sweep(tmp_path), space("ffnet_cifar")
    run.files.folder.mkdir(parents=True)
    write_supernet(run.files.supernet, MetaMixer.for_space(other), other)
    with pytest.raises(SweepError, match="is of another one; move it away and train again"):
        Evaluator.from_sweep(run)
    write_supernet(run.files.supernet, MetaMixer.for_space(run.search_space), run.search_space)
    Evaluator.from_sweep(run)


def test_supernet_file_round_trip(tmp_path: Path) -> None:
    chosen = space("ffnet_digits")
    net = MetaMixer.for_space(chosen)
    write_supernet(tmp_path / "supernet.ckpt", net, chosen)
    again = read_supernet(tmp_path / "supernet.ckpt")
    assert again.form == net.form
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True))
