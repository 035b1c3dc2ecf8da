"""Training by Lightning's Trainer: the supernet of a sweep, and one network; both resume where they were killed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer, seed_everything

from ffnet_search.config.schema import TrainSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.registry import sweep_data
from ffnet_search.errors import SweepError
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.reference import UNREADABLE, load_reference, start_from
from ffnet_search.progress import Bar, say
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.training.modules import FFNetModule, NonFiniteLoss, Standalone, Supernet
from ffnet_search.training.trainer import ALONE, LAST, TrainerPlacement, run_trainer, save


def train_supernet(sweep: Sweep, place: TrainerPlacement = ALONE) -> Path:
    """Trains the supernet of `sweep` and writes it to `sweep.files.supernet`; goes on from the last checkpoint.

    On several ranks, each calls this with its place, and the first one writes. Raises SweepError where a checkpoint is
    unreadable, or the loss stays non-finite at half the learning rate.
    """
    data = sweep_data(sweep)

    def fresh() -> Supernet:
        seed_everything(sweep.seed, verbose=False)
        supernet = Supernet(sweep.search_space, sweep.train, sweep.seed)
        if sweep.train.start_from is not None:
            _start_from(supernet.net, sweep.train.start_from, sweep.path)
        return supernet

    try:
        supernet = fit(fresh, data, sweep.train, sweep.files.training, "train", place)
    except NonFiniteLoss as error:
        raise SweepError(
            f"{sweep.path}: the {error}, again after going back to the last good checkpoint at half the learning rate; "
            f"lower train.learning_rate ({sweep.train.learning_rate}) or train.clip_norm ({sweep.train.clip_norm})"
        ) from None
    if supernet.global_rank == 0:
        write_supernet(sweep.files.supernet, supernet.net, sweep.search_space)
    return sweep.files.supernet


def train_architecture(
    net: MetaMixer, data: LightningDataModule, recipe: TrainSection, folder: Path, seed: int
) -> MetaMixer:
    """Trains one stand-alone network for `recipe.epochs`, in `folder`; returns it in evaluation mode."""
    return fit(lambda: Standalone(net, recipe, seed), data, recipe, folder, f"train {net.largest.key}").net.eval()


def fit(
    make: Any,
    data: LightningDataModule,
    recipe: TrainSection,
    folder: Path,
    label: str,
    place: TrainerPlacement = ALONE,
) -> Any:
    """Fits the module that `make()` gives. After a non-finite loss it goes back once, at half the learning rate."""
    last = folder / LAST
    module: FFNetModule = make()
    for attempt in (1, 2):
        try:
            _fit(module, data, recipe, folder, label, place)
            break
        except NonFiniteLoss as error:
            factor = module.learning_rate_factor / 2
            resumed = _read_factor(last)
            if attempt == 2 or resumed < 1:
                raise
            say(f"{label}: {error}; back to the last good checkpoint, at half the learning rate")
            module = make()
            module.learning_rate_factor = factor
    return module


def _fit(
    module: FFNetModule,
    data: LightningDataModule,
    recipe: TrainSection,
    folder: Path,
    label: str,
    place: TrainerPlacement,
) -> None:
    last = folder / LAST
    if last.exists():
        _read_factor(last)  # says clearly when the file is broken
    run_trainer(
        module, data, recipe, folder, [_Progress(label, place.bar), _Keep(last, recipe.checkpoint_minutes)], place
    )


def _read_factor(last: Path) -> float:
    """The learning-rate factor in a checkpoint; 1 where there is none. Raises SweepError where it is unreadable."""
    if not last.exists():
        return 1.0
    try:
        return float(torch.load(last, map_location="cpu", weights_only=True)["learning_rate_factor"])
    except UNREADABLE:
        raise SweepError(
            f"{last}: is not a checkpoint of this program, or is cut off; delete it to train from the start"
        ) from None


class _Keep(Callback):
    """One checkpoint, replaced whole: at the end of each epoch and every so many minutes."""

    def __init__(self, path: Path, minutes: float) -> None:
        self.path, self.seconds = path, 60 * minutes
        self.saved = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        assert isinstance(module, FFNetModule)
        accumulating = any(parameter.grad is not None for parameter in module.parameters())
        if accumulating or not module.may_look(module.global_step):  # gradients are not in a checkpoint
            return
        if trainer.strategy.reduce_boolean_decision(time.monotonic() - self.saved >= self.seconds, all=False):
            self._save(trainer, module)  # which all ranks do together

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._save(trainer, module)

    def _save(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, FFNetModule)
        module.check_finite()
        save(trainer, self.path)
        self.saved = time.monotonic()


class _Progress(Callback):
    """Images per second, time left, loss, and the accuracies of the last validation."""

    def __init__(self, label: str, make: Callable[..., AbstractContextManager[Bar]]) -> None:
        self.label, self.make, self.stack, self.bar = label, make, ExitStack(), Bar(label, 1, "")
        self.seen = ""

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        per_epoch = int(trainer.num_training_batches)
        total, done = per_epoch * int(trainer.max_epochs or 0), trainer.fit_loop.total_batch_idx + 1
        self.bar = self.stack.enter_context(self.make(self.label, total, "batches", done=done))
        self.images, self.start = 0, time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        self.images += len(batch[0])
        if trainer.is_global_zero:
            rate = self.images / (time.monotonic() - self.start)
            self.bar.advance(1, f"{rate:.0f} images/s, epoch {trainer.current_epoch + 1}{self.seen}")

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        metrics = sorted((name, float(value)) for name, value in trainer.callback_metrics.items() if "accuracy" in name)
        self.seen = "".join(
            f", {name.removeprefix('val_accuracy_').replace('val_', '')} {100 * value:.1f} %" for name, value in metrics
        )

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        self.stack.close()


def _start_from(net: MetaMixer, path: Path, sweep_path: Path) -> None:
    try:
        start_from(net, load_reference(path, resolution=net.largest.input.resolution))
    except ValueError as error:
        raise SweepError(f"{sweep_path}: train.start_from {path}: {error}") from None


def write_supernet(path: Path, net: MetaMixer, space: SearchSpace) -> None:
    """The trained weights with the space that they serve."""
    content = {
        "search_space": space.model_dump_json(),
        "branches": net.form.branches,
        "layer_scale": net.form.layer_scale,
        "state_dict": {name: tensor.detach().cpu() for name, tensor in net.state_dict().items()},
    }
    new = path.with_suffix(".new")
    torch.save(content, new)
    os.replace(new, path)


def read_supernet(path: Path) -> MetaMixer:
    """The supernet in a file of `write_supernet`. Raises SweepError where it is missing or something else."""
    from ffnet_search.space.architecture import Form

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        space = SearchSpace.model_validate_json(content["search_space"])
        net = MetaMixer.for_space(space, Form(content["branches"], content["layer_scale"]))
        net.load_state_dict(content["state_dict"])
    except FileNotFoundError:
        raise SweepError(f"{path}: no such file; run `ffnet-search train` first") from None
    except UNREADABLE as error:
        reason = " ".join(str(error).split())[:150]
        raise SweepError(
            f"{path}: is not a supernet of this program, or is cut off ({reason}); move it away and train again"
        ) from None
    return net
