"""Semantic segmentation: a class per pixel, cross-entropy and overlap, mean intersection over union (mIoU).

The head sums 1 x 1 laterals of the stages at one stride, and applies one channel mixer: its width and stride are axes
of the search space. Upsampling is bilinear, never bicubic. Shape keys: B batch, K classes, H and W pixels of the masks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ffnet_search.metrics import Metric
from ffnet_search.space.block import chosen_by
from ffnet_search.space.head import Head, HeadAxis
from ffnet_search.space.parts import MIXER_EXPANSION, MIXER_KERNEL, ChannelMixerPart, LateralPart, MaskPart, Part
from ffnet_search.space.registry import TrunkStage
from ffnet_search.space.sides import Side, pixels, shrunk
from ffnet_search.tasks.base import Targets, Task, counts_of, shape_mismatch, within

if TYPE_CHECKING:
    from torch import Tensor
    from torchmetrics import Metric as TorchMetric

    from ffnet_search.space.input import Input

IGNORE = 255  # of a mask: pixels that count nowhere


@dataclass(frozen=True)
class MaskHead(Head):
    """The width of the laterals and of the channel mixer, the stride of their map, and what the network gives: logits
    at the size of the image, or labels at the stride, which is faster where classes are many."""

    width: int = chosen_by(HeadAxis(32, short="w{0}"))
    stride: int = chosen_by(HeadAxis(4, allowed=(1, 2, 4, 8, 16, 32), short="s{0}"))
    output: str = chosen_by(HeadAxis("logits", allowed=("logits", "labels")))

    def check(self, strides: Sequence[int]) -> None:
        if self.stride not in strides:
            raise ValueError(
                f"head.stride must be a stride of the stages, one of {', '.join(map(str, strides))} at stem stride "
                f"{strides[0]}, but got {self.stride}"
            )

    def side(self, input: Input) -> Side:
        """The side, in pixels, of the head's map."""
        return shrunk(input.resolution, self.stride)


class Segmentation(Task):
    """Logits (B, K, H, W) of any size, or labels, against masks of class ids, uint8 (B, H, W), 255 where none counts.

    `soft_target` is the probabilities of the largest network at its head's stride."""

    name = "segmentation"
    quality = Metric("miou", "maximize", "mIoU", "%", scale=100.0, decimals=2, bounds=(0.0, 1.0))
    weighs = True
    whole = True
    rectangles = True
    outputs_word = "classes"
    least_outputs = 2
    recipe: ClassVar[Mapping[str, Any]] = {"label_smoothing": 0.0, "ema": 0.98}  # found on wbc: docs/log/tasks.md
    head = "ffnet_search.models.heads:SummedLaterals"
    head_choices = MaskHead
    head_words = "summed laterals, channel mixer, 1 x 1"
    target_words = "uint8 masks"
    target_fill = IGNORE
    output_name = "mask"
    predict_script = "predict_segmentation.py.txt"
    predict_words = "writes image_mask.png: class ids, of the size of the image"
    hub_task = "image-segmentation"
    quality_name = "mIoU"
    details = "ffnet_search.export.details.masks:MaskDetails"
    each = "iou"
    each_words = "intersection over union"

    def output_note(self, shape: Sequence[int]) -> str:
        if len(shape) == 3:
            return "logits: the class of a pixel is the one with the largest"
        return "labels: the class of each pixel, on a coarser grid than the input; enlarge by repetition"

    def lateral(self, stage: TrunkStage, input: Input, head: Head) -> LateralPart | None:
        """Stages at the head's stride and beyond are read."""
        assert isinstance(head, MaskHead)
        side = head.side(input)
        return LateralPart(stage.side, stage.width, head.width, side) if pixels(stage.side) <= pixels(side) else None

    def head_parts(self, last: TrunkStage, input: Input, head: Head) -> Iterator[Part]:
        assert isinstance(head, MaskHead)
        side, width = head.side(input), head.width
        yield ChannelMixerPart(side, width, width, MIXER_EXPANSION * width, MIXER_KERNEL)
        yield MaskPart(side, width, input.outputs, input.resolution if head.output == "logits" else 0)

    def loss(self, output: Tensor, target: Tensor, label_smoothing: float) -> Tensor:
        """Cross-entropy, the mean over the pixels that count, and what the overlap of the classes lacks to 1; 0 if no
        pixel counts."""
        from torch.nn import functional as F

        output_BKHW, target_BHW = _resized(output, target), target.long()
        total = F.cross_entropy(
            output_BKHW, target_BHW, ignore_index=IGNORE, label_smoothing=label_smoothing, reduction="sum"
        )
        return total / (target_BHW != IGNORE).sum().clamp(min=1) + _lacking_overlap(output_BKHW, target_BHW)

    def class_counts(self, target: Tensor, outputs: int) -> Tensor:
        """Counts of pixels that count."""
        return counts_of(target.flatten(), outputs)

    def weighted_loss(self, output: Tensor, target: Tensor, label_smoothing: float, weights_K: Tensor) -> Tensor:
        """The loss with each pixel of the cross-entropy weighed by its class; overlap counts classes alike anyway."""
        from torch.nn import functional as F

        output_BKHW, target_BHW = _resized(output, target), target.long()
        total = F.cross_entropy(
            output_BKHW, target_BHW, weights_K, ignore_index=IGNORE, label_smoothing=label_smoothing, reduction="sum"
        )
        counts_BHW = target_BHW != IGNORE
        weight = (weights_K[target_BHW.where(counts_BHW, 0)] * counts_BHW).sum()
        return total / weight.clamp(min=1e-6) + _lacking_overlap(output_BKHW, target_BHW)

    def soft_target(self, output: Tensor) -> Tensor:
        return output.detach().softmax(1)

    def counting(self, soft_target: Tensor, target: Tensor) -> Tensor:
        """The probabilities, 0 at pixels of the head of which less than half counts."""
        from torch.nn import functional as F

        counts_B1HW = (target != IGNORE)[:, None].to(soft_target.dtype)
        return soft_target * (F.interpolate(counts_B1HW, size=soft_target.shape[-2:], mode="area") >= 0.5)

    def distillation_loss(self, output: Tensor, soft_target: Tensor) -> Tensor:
        """Kullback-Leibler divergence from the largest network's probabilities, the mean over its head's pixels that
        count; 0 if none does."""
        from torch.nn import functional as F

        log_BKHW = _resized(output, soft_target).log_softmax(1)
        counted = (soft_target.sum(1) > 0).sum().clamp(min=1)
        return F.kl_div(log_BKHW, soft_target, reduction="sum") / counted

    def quality_metric(self, outputs: int) -> TorchMetric:
        """The mean intersection over union of the classes in the masks, from one confusion matrix of all pixels."""
        from ffnet_search.tasks.mean_iou import MeanIoU

        return MeanIoU(outputs, IGNORE)

    def scores(self, output: Tensor, target: Tensor, outputs: int) -> Tensor:
        """The pixels of each class that are found, that the mask has and that are predicted: (B, 3 K)."""
        import torch

        from ffnet_search.tasks.mean_iou import MeanIoU

        confusion_BKK = MeanIoU(outputs, IGNORE).confusions(output, target)
        return torch.cat([confusion_BKK.diagonal(0, 1, 2), confusion_BKK.sum(2), confusion_BKK.sum(1)], 1)

    def quality_from(self, scores_NS: NDArray[np.float64]) -> float:
        """The mean intersection over union of the classes in the masks, of all pixels of the images."""
        found_K, mask_K, predicted_K = scores_NS.sum(0).reshape(3, -1)
        held_K = mask_K > 0
        iou_K = found_K[held_K] / (mask_K + predicted_K - found_K)[held_K]
        return float(iou_K.mean()) if len(iou_K) else 0.0

    def accepts(self, target: Tensor) -> bool:
        import torch

        return target.dtype in (torch.uint8, torch.int64) and target.ndim == 3

    def mismatch(self, images: Tensor, target: Tensor, input: Input) -> str:
        if wrong := shape_mismatch(target, len(images), *images.shape[-2:]):
            return wrong
        inside = within(target[target != IGNORE], 0, input.outputs - 1)
        return "" if inside else f"of ids 0 to {input.outputs - 1}, or {IGNORE} where nothing counts"

    def strata(self, targets_N: Targets) -> NDArray[np.int64]:
        """The commonest class of a mask beside class 0, which is the background as a rule; 0 if there is none."""
        counts_NK = np.stack([np.bincount(mask_HW.ravel(), minlength=IGNORE + 1) for mask_HW in targets_N])
        counts_NK[:, [0, IGNORE]] = 0
        return counts_NK.argmax(1).astype(np.int64)

    def difference(self, output: NDArray[Any], expected: NDArray[Any]) -> float:
        """The largest difference of logits, or the share of pixels whose labels differ."""
        if output.dtype.kind == "f":
            return super().difference(output, expected)
        return float((output != expected).mean())


def _lacking_overlap(output_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
    """1 less the Dice coefficient of probabilities and masks over the pixels of a batch that count, the mean over the
    classes in the masks (Milletari et al., V-Net, 2016): as in mIoU, small classes count as much as large ones.

    Pixels that do not count weigh 0: to choose the others, the CPU would wait until the GPU has counted them."""
    import torch

    counts_B1HW = (target_BHW != IGNORE)[:, None]
    share_BKHW = output_BKHW.softmax(1) * counts_B1HW
    class_B1HW = target_BHW[:, None].where(counts_B1HW, 0)
    mask_BKHW = torch.zeros_like(share_BKHW).scatter_(1, class_B1HW, counts_B1HW.to(share_BKHW.dtype))
    mask_K, share_K = mask_BKHW.sum((0, 2, 3)), share_BKHW.sum((0, 2, 3))
    found_K = (share_BKHW * mask_BKHW).sum((0, 2, 3))
    lacking_K = 1 - 2 * found_K / (mask_K + share_K).clamp(min=1)
    held_K = (mask_K > 0).to(mask_K.dtype)
    return (lacking_K * held_K).sum() / held_K.sum().clamp(min=1)


def _resized(output: Tensor, target: Tensor) -> Tensor:
    """The output at the size of a target, bilinear."""
    from torch.nn import functional as F

    size = target.shape[-2:]
    return output if output.shape[-2:] == size else F.interpolate(output, size=size, mode="bilinear")
