"""The quality of an exported network as one of its formats computes it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from ffnet_search.data.modules.base import Data
from ffnet_search.export.formats.base import Forward, Source, find_format
from ffnet_search.metrics import INT8
from ffnet_search.models.deployed import Deployed
from ffnet_search.tasks.base import task_of


def quality_of(forward: Forward, batches: Iterable[tuple[Tensor, Tensor]], net: Deployed) -> float:
    """The quality of `forward`, a form of `net`, on batches of normalised images and targets."""
    shape = net.arch.input
    metric = task_of(shape).quality_metric(shape.outputs)
    for images_BCHW, target_B in batches:
        metric.update(torch.from_numpy(forward(images_BCHW.numpy())), target_B)
    return float(metric.compute())


def int8_metrics(folder: Path, net: Deployed, data: Data) -> dict[str, float]:
    """Write the form of 8 bits into an exported folder, and return its quality on search validation and on test."""
    format, task = find_format("int8"), task_of(net.arch.input)
    format.write(folder, Source(net, data.calibration))
    forward = format.forward(folder)
    assert forward is not None
    return {
        INT8 + task.search_quality: quality_of(forward, data.val_dataloader(), net),
        INT8 + task.test_quality: quality_of(forward, data.test_dataloader(), net),
    }
