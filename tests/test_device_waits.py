"""No part of a training step waits for the GPU: seen on torch's device `meta`, which has shapes and no values. There,
as on a GPU, a tensor of the CPU beside others is an error, and so is a value that is read back or a shape that depends
on values. Copies from the CPU are watched: one that blocks waits until the GPU has done all that was asked of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from lightning import Trainer
from task_spaces import SPACES
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ffnet_search.config.schema import Augment, TrainSection
from ffnet_search.data.augmentation.batches import Augmentation
from ffnet_search.data.augmentation.moves import Share
from ffnet_search.forecasting.forecaster import Forecaster, RobustForecaster
from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.deployed import fuse
from ffnet_search.models.inherit import inherit
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.space.registry import TASKS
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.tasks.base import task_of
from ffnet_search.training.callbacks.averaging import AveragedWeights
from ffnet_search.training.losses import Distillation
from ffnet_search.training.modules import CHECK_EVERY, FFNetModule, Standalone, Supernet
from ffnet_search.training.trainer import quiet_lightning

META = torch.device("meta")
BATCH = 4
RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "drop_path": {"drop_path": 0.1},
    "mixup": {"mixup": 0.2},
    "cutmix": {"cutmix": 1.0},
    "branches": {"branches": "all"},
}


def recipe_of(space: SearchSpace, name: str) -> TrainSection:
    """The recipe of the task with that change, where the task allows it."""
    task, content = task_of(space.images), {"optimizer": "sgd", **RECIPES[name]}
    refused = (name in ("mixup", "cutmix") and not task.mixes) or (name == "cutmix" and not task.cuts)
    if refused or (name == "branches" and "all" not in task.forms):
        pytest.skip(f"{task.name} has no {name}")
    return TrainSection(**{**task.recipe, **content})


def batch_of(space: SearchSpace) -> tuple[Tensor, Tensor]:
    """Images and targets without values."""
    shape, name = space.images, space.images.task
    height, width = shape.shape[1:]
    targets: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
        "classification": ((BATCH,), torch.int64),
        "segmentation": ((BATCH, height, width), torch.uint8),
        "multilabel": ((BATCH, shape.outputs), torch.float32),
        "regression": ((BATCH, shape.outputs), torch.float32),
        "super_resolution": (
            (BATCH, shape.channels, shape.outputs * height, shape.outputs * width),
            torch.uint8,
        ),
    }
    size, dtype = targets[name]
    return torch.empty(BATCH, *shape.shape, device=META), torch.empty(size, dtype=dtype, device=META)


class BlockingCopies(TorchDispatchMode):
    """Lists the copies from the CPU to the device that block, by shape."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[torch.Size] = []

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        named = named or {}
        if str(function) == "aten._to_copy.default":
            source, device = arguments[0], named.get("device")
            if device is not None and device.type == "meta" and source.device.type == "cpu":
                self.found += [] if named.get("non_blocking") else [source.shape]
        return function(*arguments, **named)


@contextmanager
def no_blocking_copy() -> Iterator[None]:
    with BlockingCopies() as copies:
        yield
    assert copies.found == []


def placed(module: FFNetModule) -> FFNetModule:
    """The module as a Trainer has it in the middle of a training, on the device."""
    with quiet_lightning():
        trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.fit_loop.max_batches = 2 * CHECK_EVERY
    module.trainer = trainer
    module.to(META).train()
    module.step = CHECK_EVERY + 1
    module.finite = module.finite.to(META)
    trainer.strategy.connect(module)
    trainer.strategy.optimizers = [module.configure_optimizers()]
    return module


def weighed(module: FFNetModule, space: SearchSpace) -> FFNetModule:
    if module.task.weighs:
        module.losses = replace(module.losses, weights_K=torch.ones(space.images.outputs))
    return module


def test_every_task_is_here() -> None:
    assert set(SPACES) == set(TASKS)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("task", SPACES)
def test_steps_metrics_and_recalibration_wait_for_nothing(task: str, name: str) -> None:
    space = SPACES[task]
    recipe, batch = recipe_of(space, name), batch_of(space)
    supernet = weighed(placed(Supernet(space, recipe)), space)
    with no_blocking_copy():
        supernet.learn([batch, batch], 1, supernet.apply_gradients)
    for metric in supernet.qualities:
        with torch.no_grad(), no_blocking_copy():
            metric.update(supernet.net(batch[0], space.smallest), batch[1])
    sliced = recalibrate(supernet.net.slice_to(space.smallest), batch[0])
    teacher = fuse(recalibrate(supernet.net.slice_to(space.largest), batch[0]))
    alone = weighed(placed(Standalone(sliced, recipe, 0, Distillation(teacher, 0.5))), space)
    with no_blocking_copy():
        alone.learn([batch], 1, alone.apply_gradients)
    inherit(MetaMixer(space.largest, recipe.form).to(META), supernet.net, batch[0])
    with no_blocking_copy():
        supernet.task.scores(fuse(sliced)(batch[0]), batch[1], space.images.outputs)


def test_the_average_of_weights_waits_for_nothing() -> None:
    space = SPACES["classification"]
    module = placed(Supernet(space, TrainSection(optimizer="sgd")))
    average = AveragedWeights(0.9)
    average.on_fit_start(module.trainer, module)
    for _ in range(3):
        average.update()
    average.on_validation_epoch_start(module.trainer, module)
    average.on_train_end(module.trainer, module)


CHANGES = [
    Augment(crop=2, flip=True, turn=True, cutout=4),
    Augment(randaugment=2, magnitude=9),
    Augment(jitter=0.3, hue=0.1),
    Augment(crop=2, flip=True, turn=True, cutout=4, randaugment=14, jitter=0.2, hue=0.1),
]


@pytest.mark.parametrize("section", CHANGES, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fill", [None, 255])
def test_augmentation_waits_for_nothing(section: Augment, channels: int, fill: int | None) -> None:
    images_BCHW = torch.empty(8, channels, 16, 16, device=META)
    target = torch.empty((8, 16, 16) if fill else (8,), dtype=torch.uint8 if fill else torch.int64, device=META)
    augmentation = Augmentation(section, torch.zeros(channels), torch.ones(channels), fill)
    with no_blocking_copy():
        for step in range(3):
            made_BCHW, made = augmentation((images_BCHW, target), (0, step), Share())
            assert made_BCHW.shape == images_BCHW.shape and made.shape == target.shape


@pytest.mark.parametrize("kind", [Forecaster, RobustForecaster])
def test_a_step_of_a_forecaster_waits_for_nothing(kind: type[Forecaster]) -> None:
    """Nor does its validation, whose errors are computed once an epoch."""
    module = kind((3, 12, 6), 4, 3, 1).to(META)
    batch = torch.empty(BATCH, 12, 3, device=META), torch.empty(BATCH, 6, 3, device=META)
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    with no_blocking_copy():
        module.training_step(batch, 0).backward()
        for step in (module.validation_step, module.test_step):
            step(batch, 0)


def test_what_waits_is_found() -> None:
    values = torch.empty(4, device=META)
    for wait in (lambda: values[values > 0], lambda: float(values.sum()), lambda: values.long().bincount()):
        with pytest.raises((NotImplementedError, RuntimeError)):
            wait()
    with pytest.raises(AssertionError), no_blocking_copy():
        torch.ones(3).to(META)
