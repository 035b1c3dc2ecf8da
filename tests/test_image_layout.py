"""Depthwise convolutions get images in the layout that is fast on their device: a GPU where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_sweep import sweep
from torch import Tensor, nn

from ffnet_search.data.registry import build_data
from ffnet_search.evaluation.inherited import Evaluator
from ffnet_search.models.device import PLANNED_MACS, fastest_device, fastest_layout, in_training_layout
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.training.modules import Supernet

GPU = torch.device("cuda")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is available")


@contextmanager
def depthwise_images() -> Iterator[list[Tensor]]:
    """The images that depthwise convolutions of several channels are given in the block."""
    seen: list[Tensor] = []

    def see(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if isinstance(module, nn.Conv2d) and module.groups > 1 and inputs[0].shape[-1] > 1:
            seen.append(inputs[0])

    with torch.nn.modules.module.register_module_forward_pre_hook(see):
        yield seen


def test_networks_are_evaluated_in_the_fastest_layout(tmp_path: Path) -> None:
    run = sweep(tmp_path)
    data = build_data(run.data, run.seed, run.search_space.images)
    evaluate = Evaluator(MetaMixer.for_space(run.search_space), data)
    with depthwise_images() as seen:
        evaluate(Configuration(run.search_space.largest))
    assert len(seen) > 10
    assert all(one.is_contiguous(memory_format=fastest_layout(fastest_device())) for one in seen)


@needs_gpu
def test_sub_networks_train_on_a_gpu_without_plans(tmp_path: Path) -> None:
    run = sweep(tmp_path)
    supernet = Supernet(run.search_space, run.train).to(GPU)
    images = run.search_space.images
    x_BCHW = torch.randn(8, images.channels, images.resolution, images.resolution, device=GPU)
    with depthwise_images() as seen:
        supernet.net(x_BCHW.contiguous(memory_format=torch.channels_last), run.search_space.smallest).sum().backward()
    assert seen and all(one.is_contiguous() for one in seen)


@needs_gpu
def test_plans_are_made_where_they_pay() -> None:
    x_BCHW = torch.randn(2, 4, 8, 8, device=GPU)
    assert in_training_layout(x_BCHW, PLANNED_MACS).is_contiguous(memory_format=torch.channels_last)
    assert in_training_layout(x_BCHW, PLANNED_MACS / 2).is_contiguous()


def test_layouts_of_devices() -> None:
    assert fastest_layout(GPU) == torch.contiguous_format
    assert fastest_layout(torch.device("cpu")) == torch.channels_last
