"""No part of a training step waits for the GPU: seen on the device "meta", whose tensors have shapes and no content.

What needs the content on the host fails there (a choice by a mask, `bincount`, a number), and copies from the CPU are
watched: one that blocks waits until the GPU has done all that was asked of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from task_spaces import SPACES
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ffnet_search.config.schema import Augment, TrainSection
from ffnet_search.data.augmentation.batches import Augmentation
from ffnet_search.data.augmentation.moves import Share
from ffnet_search.forecasting.forecaster import Forecaster, RobustForecaster
from ffnet_search.space.registry import TASKS
from ffnet_search.tasks.base import find_task
from ffnet_search.training.modules import FFNetModule, Standalone, Supernet

BATCH = 4


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def target(name: str) -> Tensor:
    images = SPACES[name].images
    height, width = images.shape[1:]
    if name == "classification":
        return empty(BATCH, dtype=torch.int64)
    if name == "segmentation":
        return empty(BATCH, height, width, dtype=torch.uint8)
    if name == "super_resolution":
        return empty(BATCH, images.channels, images.outputs * height, images.outputs * width, dtype=torch.uint8)
    return empty(BATCH, images.outputs)


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


def modules(name: str) -> Iterator[FFNetModule]:
    mixing = {"cutmix": 1.0} if name in ("classification", "segmentation") else {}
    weights = {"class_weights": "balanced"} if find_task(name).weighs else {}
    recipe = TrainSection(drop_path=0.1, label_smoothing=0.1, **mixing, **weights)
    supernet = Supernet(SPACES[name], recipe)
    yield supernet
    yield Standalone(supernet.net.slice_to(SPACES[name].smallest), recipe)


def test_every_task_is_here() -> None:
    assert set(SPACES) == set(TASKS)


@pytest.mark.parametrize("name", SPACES)
def test_a_step_of_a_task_waits_for_nothing(name: str) -> None:
    x_BCHW = empty(BATCH, *SPACES[name].images.shape)
    for module in modules(name):
        module.to("meta").train()
        if module.recipe.class_weights != "none":  # kept on the CPU, as `prepare_for_data` makes them
            object.__setattr__(module.losses, "weights_K", torch.ones(SPACES[name].images.outputs))
        module.manual_backward = torch.Tensor.backward  # type: ignore[method-assign, assignment]
        losses: list[Tensor] = []
        with no_blocking_copy():
            module.learn([(x_BCHW, target(name))], 0, losses.append)
            torch.nn.utils.clip_grad_norm_(module.net.parameters(), 1.0)
        assert len(losses) == (3 if isinstance(module, Supernet) else 1)


@pytest.mark.parametrize(
    "section",
    [
        Augment(crop=2, flip=True, turn=True, cutout=4),
        Augment(randaugment=2, magnitude=9),
        Augment(jitter=0.3, hue=0.1),
    ],
)
@pytest.mark.parametrize("fill", [None, 255])
def test_augmentation_waits_for_nothing(section: Augment, fill: int | None) -> None:
    images_BCHW = empty(32, 3, 16, 16)
    maps_BHW = empty(32, 16, 16, dtype=torch.uint8) if fill else empty(32, dtype=torch.int64)
    augment = Augmentation(section, torch.zeros(3), torch.ones(3), fill)
    with no_blocking_copy():
        for number in range(4):
            made_BCHW, target_B = augment((images_BCHW, maps_BHW), (0, number), Share())
            assert made_BCHW.shape == images_BCHW.shape and target_B.shape == maps_BHW.shape


def test_the_quality_of_photos_waits_for_nothing() -> None:
    task, images = find_task("super_resolution"), SPACES["super_resolution"].images
    metric, photos = task.quality_metric(images.outputs).to("meta"), target("super_resolution")
    with no_blocking_copy():
        metric.update(photos.float(), photos)
        task.scores(photos.float(), photos, images.outputs)


@pytest.mark.parametrize("kind", [Forecaster, RobustForecaster])
def test_a_step_of_a_forecaster_waits_for_nothing(kind: type[Forecaster]) -> None:
    """Nor does its validation, whose errors are computed once an epoch."""
    module = kind((3, 12, 6), 4, 3, 1).to("meta")
    batch = empty(BATCH, 12, 3), empty(BATCH, 6, 3)
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    with no_blocking_copy():
        module.training_step(batch, 0).backward()
        for step in (module.validation_step, module.test_step):
            step(batch, 0)


def test_what_waits_is_found() -> None:
    values = empty(4)
    for wait in (lambda: values[values > 0], lambda: float(values.sum()), lambda: values.long().bincount()):
        with pytest.raises((NotImplementedError, RuntimeError)):
            wait()
    with pytest.raises(AssertionError), no_blocking_copy():
        torch.ones(3).to("meta")
