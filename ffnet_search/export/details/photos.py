"""Details of an exported super-resolution network: bicubic interpolation on the same photos, and its worst photos.

`worst.png` has a row per photo, of the square where the network errs most: bicubic, the network, the photo itself.
Shape keys: h and w pixels of a reduced photo, H and W of the photo itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ffnet_search.data.modules.base import Data
from ffnet_search.export.details.worst_images import Forms, WorstImages, write_forms
from ffnet_search.models.deployed import Deployed
from ffnet_search.tasks.psnr import LumaPsnr, levels, luma, psnr

WORST = 6  # photos that are shown
SQUARE = 96  # pixels a side of what is shown of each
TILE = 240  # pixels a side of each on the sheet
CAPTION = "Its worst images on test, where it errs most: by bicubic interpolation, by the network, and the photo itself"


class PhotoDetails:
    """Called with an exported folder, its network and the data; returns facts for the card."""

    @torch.inference_mode()
    def __call__(self, folder: Path, net: Deployed, data: Data) -> dict[str, Any]:
        scale = net.arch.input.outputs
        by_bicubic, worst = LumaPsnr(scale), WorstImages[Forms](WORST)
        device = next(net.parameters()).device
        for images_BChw, target_BCHW in data.test_dataloader():
            enlarged_BCHW = levels(net(images_BChw.to(device))).cpu()
            bicubic_BCHW = torch.stack([bicubic(image_Chw, scale) for image_Chw in levels(images_BChw)])
            by_bicubic.update(bicubic_BCHW.float() / 255, target_BCHW)
            for versions in zip(bicubic_BCHW, enlarged_BCHW, target_BCHW, strict=True):
                ratios = [float(psnr(one_CHW[None], versions[-1][None], scale)) for one_CHW in versions[:-1]]
                worst.add(-ratios[-1], partial(_forms, versions, ratios))
        sheet = write_forms(folder, worst.worst, TILE)
        return {"bicubic_psnr_y": float(by_bicubic.compute()), "worst": sheet, "caption": CAPTION}


def bicubic(image_Chw: Tensor, scale: int) -> Tensor:
    """A photo uint8 (C, h, w), enlarged by bicubic interpolation."""
    image = Image.fromarray(_pixels(image_Chw))
    enlarged = image.resize((image.width * scale, image.height * scale), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(enlarged)).reshape(enlarged.height, enlarged.width, -1).permute(2, 0, 1)


def _pixels(image_CHW: Tensor) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = image_CHW.permute(1, 2, 0).numpy()
    return pixels if pixels.shape[2] == 3 else pixels[..., 0]


def _forms(versions: Sequence[Tensor], ratios: Sequence[float]) -> Forms:
    """The square of a photo where the network errs most: bicubic, the network, the photo, with the ratio of all."""
    *_, enlarged_CHW, target_CHW = versions
    error_HW = (luma(enlarged_CHW[None]) - luma(target_CHW[None])).square()
    height, width = (min(SQUARE, side) for side in error_HW.shape[1:])
    mean_HW = F.avg_pool2d(error_HW, (height, width), stride=8)[0]
    y, x = (8 * int(at) for at in np.unravel_index(int(mean_HW.argmax()), mean_HW.shape))
    squares = [_pixels(one_CHW[:, y : y + height, x : x + width]) for one_CHW in versions]
    return Forms(squares, [*(f"{ratio:.2f} dB" for ratio in ratios), ""])
