"""More of an exported network with several outputs: the quality of each of them on test.

Called with an exported folder, its network and the data; returns facts for the card. Shape keys: N images, K outputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffnet_search.data.datamodule import Data
from ffnet_search.models.deployed import Deployed
from ffnet_search.tasks.average_precision import MeanAveragePrecision


@torch.inference_mode()
def outputs_on_test(net: Deployed, data: Data) -> tuple[Tensor, Tensor]:
    """The outputs (N, K) of a network for the test images, and their targets (N, K)."""
    device = next(net.parameters()).device
    pairs = [(net(images_BCHW.to(device)).cpu(), target_BK) for images_BCHW, target_BK in data.test_dataloader()]
    outputs, targets = zip(*pairs, strict=True)
    return torch.cat(outputs), torch.cat(targets)


class LabelDetails:
    """The average precision of each label; None where no test image has it."""

    def __call__(self, folder: Path, net: Deployed, data: Data) -> dict[str, Any]:
        metric = MeanAveragePrecision()
        metric.update(*outputs_on_test(net, data))
        each = zip(data.outputs, metric.per_label().tolist(), strict=True)
        return {"average_precision": {name: value if value == value else None for name, value in each}}


class NumberDetails:
    """The mean absolute error of each target, and `constant`: that of the test targets' median, which looks at no
    image. A network that does not beat it has learnt nothing."""

    def __call__(self, folder: Path, net: Deployed, data: Data) -> dict[str, Any]:
        output_NK, target_NK = outputs_on_test(net, data)
        found_K = (output_NK - target_NK).abs().mean(0)
        constant_K = (target_NK - target_NK.median(0).values).abs().mean(0)
        return {
            "mae": dict(zip(data.outputs, found_K.tolist(), strict=True)),
            "constant": dict(zip(data.outputs, constant_K.tolist(), strict=True)),
        }
