"""Data in Lightning's Trainer: interrupted trainings, augmentation of training batches alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from image_data import all_prints, batch_print, prints
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from ffnet_search.errors import SweepError


class Recorder(LightningModule):
    """Trains nothing; notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, str]] = []
        self.validated: list[str] = []

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        self.seen.append((self.current_epoch, batch_print(batch)))
        torch.rand(3)  # a training run draws numbers too
        return (self.weight * batch[0].mean()).sum()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.validated += prints(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(data: Any, checkpoint: Path | None = None, save: Path | None = None, epochs: int = 3) -> Recorder:
    """Saves after every step, and again at the end of every epoch, after validation."""
    recorder = Recorder()
    each_step = ModelCheckpoint(save, "{step}", every_n_train_steps=1, save_top_k=-1)
    each_epoch = ModelCheckpoint(save, "{epoch}", every_n_epochs=1, save_top_k=-1)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=save is not None,
        callbacks=[each_step, each_epoch] if save else [],
    )
    trainer.fit(recorder, datamodule=data, ckpt_path=checkpoint)
    return recorder


FITTED = {
    "digits": {"batch_size": 256, "augment": {"crop": 1, "flip": True, "cutout": 2}},
    "folder_streamed": {"batch_size": 48, "workers": 1, "augment": {"flip": True, "resized_crop": 0.3}},
    "user": {"init_args": {"images": 70, "noise": 0.1}},
}


@pytest.mark.parametrize("kind", FITTED)
@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used to create")
def test_a_killed_training_sees_the_batches_that_it_missed(
    kind: str, make_data: Callable[..., Any], tmp_path: Path
) -> None:
    build = partial(make_data, kind, **FITTED[kind])
    whole = fit(build(), save=tmp_path)
    steps = len(build().train_dataloader())
    assert len(whole.seen) == 3 * steps and len(set(whole.seen)) == 3 * steps
    saved = {f"step={step}": step for step in (1, steps - 1, steps, steps + 2)} | {"epoch=1": 2 * steps}
    for name, step in saved.items():
        resumed = fit(build(), tmp_path / f"{name}.ckpt")
        assert resumed.seen == whole.seen[step:], f"resumed from {name}, {steps} steps an epoch"


def test_training_batches_alone_are_augmented(make_data: Callable[..., Any]) -> None:
    data = make_data("digits", batch_size=256, augment={"crop": 1, "flip": True})
    recorder = fit(data, epochs=1)
    assert set(recorder.validated) == set(all_prints(data.val_dataloader()))
    plain = list(data.train_dataloader())
    augmented = [data.augment(batch, 0, index) for index, batch in enumerate(plain)]
    assert [seen for _, seen in recorder.seen] == [batch_print(batch) for batch in augmented]
    assert not {batch_print(batch) for batch in augmented} & {batch_print(batch) for batch in plain}


def test_a_batch_larger_than_the_set_is_the_whole_set(make_data: Callable[..., Any]) -> None:
    data = make_data("digits", batch_size=10**6)
    [(images, _)] = data.train_dataloader()
    assert len(images) == data.train_images and len(data.train_dataloader()) == 1


def test_fewer_images_than_ranks_are_one_sentence(make_data: Callable[..., Any]) -> None:
    data = make_data("digits")
    data.trainer = SimpleNamespace(global_rank=0, world_size=10**4)
    with pytest.raises(SweepError, match=r"train.devices must be <= the .* images of training, but 10000 devices"):
        data.train_dataloader()


def test_one_image_left_over_is_no_batch_of_its_own(make_data: Callable[..., Any]) -> None:
    """A supernet is validated with the statistics of the batch, and its last maps may have one pixel."""
    whole = make_data("digits")
    total = sum(len(images) for images, _ in whole.val_dataloader())
    size = next(size for size in range(2, total) if total % size == 1)
    data = make_data("digits", batch_size=size)
    sizes = [len(images) for images, _ in data.val_dataloader()]
    assert sizes[-1] == size + 1 and sum(sizes) == total and len(sizes) == len(data.val_dataloader())
