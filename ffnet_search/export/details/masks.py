"""Details of an exported segmentation network: intersection over union of each class on test, and its worst images.

`worst.png` has a row per image: the image, its mask, and the prediction. Shape keys: K classes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ffnet_search.data.modules.base import Data
from ffnet_search.export.details.sheet import as_pixels
from ffnet_search.export.details.worst_images import Forms, WorstImages, write_forms
from ffnet_search.models.deployed import Deployed
from ffnet_search.space.sides import grown, height_and_width
from ffnet_search.tasks.mean_iou import MeanIoU, iou, predicted
from ffnet_search.tasks.segmentation import IGNORE

WORST = 6  # images that are shown
TILE = 160  # pixels a side of each, about
OPACITY = 0.55  # of the classes over an image
COLOURS = ((0, 0, 0), (230, 80, 60), (60, 140, 230), (90, 190, 90), (240, 190, 60), (150, 90, 200), (70, 200, 200))


class MaskDetails:
    """Called with an exported folder, its network and the data; returns facts for the card."""

    @torch.inference_mode()
    def __call__(self, folder: Path, net: Deployed, data: Data) -> dict[str, Any]:
        metric, worst = MeanIoU(net.arch.input.outputs, IGNORE), WorstImages[Forms](WORST)
        device = next(net.parameters()).device
        for images_BCHW, target_BHW in data.test_dataloader():
            labels_BHW = predicted(net(images_BCHW.to(device)).cpu(), target_BHW)
            for image_CHW, mask_HW, labels_HW in zip(images_BCHW, target_BHW, labels_BHW, strict=True):
                [confusion_KK] = metric.confusions(labels_HW[None], mask_HW[None])
                metric.confusion_KK += confusion_KK
                iou_K = iou(confusion_KK)
                badness = 1.0 - float(iou_K[~iou_K.isnan()].mean()) if confusion_KK.sum() else 0.0
                worst.add(badness, partial(_forms, as_pixels(image_CHW, data), mask_HW, labels_HW, badness))
        side = net.arch.input.resolution
        sheet = write_forms(folder, worst.worst, tile=grown(side, max(1, round(TILE / max(height_and_width(side))))))
        per_class = zip(data.outputs, metric.per_class().tolist(), strict=True)
        return {"iou": {name: None if np.isnan(value) else value for name, value in per_class}, "worst": sheet}


def _forms(image_HWC: NDArray[np.uint8], mask_HW: Tensor, labels_HW: Tensor, badness: float) -> Forms:
    """The image, and the mask and the prediction over it, with its mIoU."""
    overlaid = [overlay(image_HWC, one_HW.byte().numpy()) for one_HW in (mask_HW, labels_HW)]
    return Forms([image_HWC, *overlaid], ["", "", f"{100 * (1 - badness):.1f} %"])


def overlay(image_HWC: NDArray[np.uint8], mask_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The classes over an image, in colours; class 0 leaves it as it is, white counts nowhere."""
    palette = np.array([COLOURS[1 + (label - 1) % (len(COLOURS) - 1)] if label else COLOURS[0] for label in range(256)])
    palette[IGNORE] = 255
    mixed_HWC = (1 - OPACITY) * image_HWC + OPACITY * palette[mask_HW]
    return np.where(mask_HW[..., None] > 0, mixed_HWC, image_HWC).round().astype(np.uint8)
