"""Details of an exported network with several outputs: the quality of each output on test, and its worst images.

`worst.png` shows the images with the largest errors, each with its target and the prediction. Called with an exported
folder, its network and the data; returns facts for the card. Shape keys: B batch, N images, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ffnet_search.data.modules.base import Data
from ffnet_search.export.details.sheet import Tile, draw_sheet, plain
from ffnet_search.export.details.worst_images import SHEET, WorstImages
from ffnet_search.formatting import percent
from ffnet_search.models.deployed import Deployed
from ffnet_search.tasks.average_precision import MeanAveragePrecision

WORST = 10  # images that are shown
LINES = 3  # outputs of each, those that are most wrong first
LABELS = "Its worst images on test: the labels that it is most wrong about, as they are, and what it says of them."
NUMBERS = "Its worst images on test: the numbers that it is most wrong about, as they are, and what it says instead."


@dataclass(frozen=True)
class Shown:
    """An image with its output and target (K,), and the error of each."""

    image_CHW: Tensor
    output_K: Tensor
    target_K: Tensor
    wrong_K: Tensor


def _shown(image_CHW: Tensor, output_K: Tensor, target_K: Tensor, wrong_K: Tensor) -> Shown:
    return Shown(image_CHW.clone(), output_K, target_K, wrong_K)  # not a view, which holds its batch


@dataclass(frozen=True)
class OnTest:
    """The outputs (N, K) of a network for the test images, their targets (N, K), and the worst images."""

    output_NK: Tensor
    target_NK: Tensor
    worst: list[Shown]


@torch.inference_mode()
def on_test(net: Deployed, data: Data, wrong: Callable[[Tensor, Tensor], Tensor]) -> OnTest:
    """Run the test images. `wrong`: (output, target), both (B, K) -> the error of each, (B, K)."""
    device, pairs, worst = next(net.parameters()).device, list[tuple[Tensor, Tensor]](), WorstImages[Shown](WORST)
    for images_BCHW, target_BK in data.test_dataloader():
        output_BK = net(images_BCHW.to(device)).cpu()
        for image_CHW, output_K, target_K, wrong_K in zip(
            images_BCHW, output_BK, target_BK, wrong(output_BK, target_BK), strict=True
        ):
            worst.add(float(wrong_K.mean()), partial(_shown, image_CHW, output_K, target_K, wrong_K))
        pairs.append((output_BK, target_BK))
    outputs, targets = zip(*pairs, strict=True)
    return OnTest(torch.cat(outputs), torch.cat(targets), worst.worst)


def write_worst(
    folder: Path, data: Data, worst: list[Shown], words: Callable[[float, float], tuple[str, str]], caption: str
) -> dict[str, str]:
    """Write the sheet and return its facts. `words`: (output, target) -> the captions of target and prediction."""
    tiles = []
    for shown in worst:
        label, predicted = [], []
        for index in shown.wrong_K.argsort(descending=True, stable=True)[:LINES].tolist():
            true, other = words(float(shown.output_K[index]), float(shown.target_K[index]))
            label.append(plain(data.outputs[index], true))
            predicted.append(plain(data.outputs[index], other))
        tiles.append(Tile(shown.image_CHW, tuple(label), tuple(predicted)))
    draw_sheet(tiles, data).save(folder / SHEET)
    return {"worst": SHEET, "caption": caption}


class LabelDetails:
    """The average precision of each label; None if no test image has it."""

    def __call__(self, folder: Path, net: Deployed, data: Data) -> dict[str, Any]:
        def cross_entropy(output_BK: Tensor, target_BK: Tensor) -> Tensor:
            return F.binary_cross_entropy_with_logits(output_BK, target_BK, reduction="none")

        def words(output: float, target: float) -> tuple[str, str]:
            return ("yes" if target > 0.5 else "no"), percent(float(torch.tensor(output).sigmoid()), 0)

        found, metric = on_test(net, data, cross_entropy), MeanAveragePrecision()
        metric.update(found.output_NK, found.target_NK)
        each = zip(data.outputs, metric.per_label().tolist(), strict=True)
        facts = {"average_precision": {name: value if value == value else None for name, value in each}}
        return facts | write_worst(folder, data, found.worst, words, LABELS)


class NumberDetails:
    """The mean absolute error of each target, and `constant`: that of the test targets' median, which looks at no
    image. A network that does not beat it has learnt nothing. The worst images are those of the largest standardised
    errors, in which several targets count alike."""

    def __call__(self, folder: Path, net: Deployed, data: Data) -> dict[str, Any]:
        spread_K = data.target_statistics[1]
        found = on_test(net, data, lambda output_BK, target_BK: (output_BK - target_BK).abs() / spread_K)
        found_K = (found.output_NK - found.target_NK).abs().mean(0)
        constant_K = (found.target_NK - found.target_NK.median(0).values).abs().mean(0)
        facts = {
            "mae": dict(zip(data.outputs, found_K.tolist(), strict=True)),
            "constant": dict(zip(data.outputs, constant_K.tolist(), strict=True)),
        }
        words = write_worst(
            folder, data, found.worst, lambda output, target: (f"{target:.4g}", f"{output:.4g}"), NUMBERS
        )
        return facts | words
