"""Super-resolution: a photo 2 to 4 times as large (paper, section 4.5; reference: super_resolution/ffnetsr).

Networks have one stage at the resolution of the image and no batch norm. The loss is L1 and a share of the distance of
spectra; the quality is the peak signal-to-noise ratio on luma. Shape keys: B batch, C channels, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ffnet_search.metrics import Metric
from ffnet_search.space.head import Head
from ffnet_search.space.parts import Part, UpsamplePart
from ffnet_search.space.registry import TrunkStage
from ffnet_search.tasks.base import Targets, Task, shape_mismatch

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric as TorchMetric

    from ffnet_search.space.input import Input

SCALES = (2, 3, 4)
SPECTRUM = 0.02  # of the distance of spectra, in the loss


class SuperResolution(Task):
    """Photos float (B, C, sH, sW) in 0 to 1, of images float (B, C, H, W) in 0 to 1 and of any size, against the photos
    that those were reduced from, uint8 (B, C, sH, sW); `outputs` is the scale s. `soft_target` is the largest network's
    photo."""

    name = "super_resolution"
    quality = Metric("psnr_y", "maximize", "PSNR", "dB", decimals=2)
    outputs_word = "scale"
    least_outputs = min(SCALES)
    names_outputs = False
    any_size = True
    mixes = False
    recipe: ClassVar[Mapping[str, Any]] = {
        "branches": "bare",
        "layer_scale": None,
        "weight_decay": 0.0,
        "label_smoothing": 0.0,
    }
    forms = ("bare",)
    head = "ffnet_search.models.heads:PixelShuffle"
    head_words = "3 x 3, pixel shuffle, the image repeated"
    target_words = "uint8 images of scale times the size"
    output_name = "enlarged"
    output_words = "levels in 0 to 1, to be cut there and multiplied by 255"
    predict_script = "predict_super_resolution.py.txt"
    predict_words = "writes image_x{outputs}.png"
    hub_task = "image-to-image"
    quality_name = "PSNR on luma"
    details = "ffnet_search.export.details.photos:PhotoDetails"

    def check_input(self, input: Input) -> None:
        if input.outputs not in SCALES:
            raise ValueError(f"scale must be one of {', '.join(map(str, SCALES))}, but got {input.outputs}")
        if input.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3 for task {self.name!r}, but got {input.channels}")

    def check_trunk(self, strides: Sequence[int]) -> None:
        if list(strides) != [1]:
            raise ValueError(
                f"task {self.name!r} must have one stage, at stem.stride 1, since its networks keep the resolution, "
                f"but got {len(strides)} at {strides[0]}"
            )

    def outputs_words(self, outputs: int) -> str:
        return f"scale {outputs}"

    def head_parts(self, last: TrunkStage, input: Input, head: Head) -> Iterator[Part]:
        yield UpsamplePart(last.side, last.width, input.channels, input.outputs)

    def loss(self, output: Tensor, target: Tensor, label_smoothing: float) -> Tensor:
        """The mean of absolute differences, and 0.02 times that of the spectra's real and imaginary parts."""
        import torch

        output_BCHW, target_BCHW = output.float(), target.float() / 255
        spectra = (torch.view_as_real(torch.fft.rfft2(x_BCHW)) for x_BCHW in (output_BCHW, target_BCHW))
        theirs, ours = spectra
        return (output_BCHW - target_BCHW).abs().mean() + SPECTRUM * (theirs - ours).abs().mean()

    def soft_target(self, output: Tensor) -> Tensor:
        return output.detach()

    def distillation_loss(self, output: Tensor, soft_target: Tensor) -> Tensor:
        """The mean of absolute differences from the largest network's photos."""
        return (output - soft_target).abs().mean()

    def quality_metric(self, outputs: int) -> TorchMetric:
        """The mean over photos of the peak signal-to-noise ratio on luma, without `outputs` pixels at each edge."""
        from ffnet_search.tasks.psnr import LumaPsnr

        return LumaPsnr(outputs)

    def scores(self, output: Tensor, target: Tensor, outputs: int) -> Tensor:
        """The peak signal-to-noise ratio of each photo, float64 (B, 1)."""
        from ffnet_search.tasks.psnr import levels, psnr

        return psnr(levels(output), target, outputs)[:, None]

    def reference_note(self, details: Mapping[str, Any]) -> str:
        reached = details.get("bicubic_psnr_y")
        return "" if reached is None else f"bicubic interpolation has {self.quality.format(reached)} on test"

    def accepts(self, target: Tensor) -> bool:
        import torch

        return target.dtype == torch.uint8 and target.ndim == 4

    def mismatch(self, images: Tensor, target: Tensor, input: Input) -> str:
        (batch, *_), (height, width) = images.shape, images.shape[-2:]
        return shape_mismatch(target, batch, input.channels, input.outputs * height, input.outputs * width)

    def strata(self, targets_N: Targets) -> NDArray[np.int64]:
        return np.zeros(len(targets_N), np.int64)
