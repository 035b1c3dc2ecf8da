"""The mean intersection over union, from one confusion matrix that all batches and ranks add to.

torchmetrics' MeanIoU takes the mean over images, and its Jaccard index counts a class that a network predicts but no
mask holds: then networks are compared on different classes. Here the masks alone decide which classes count.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric


class MeanIoU(Metric):
    """Updated with logits (B, K, h, w) or labels (B, h, w), brought to the size of the masks (B, H, W), of ids below
    `classes`; pixels of id `ignore` count nowhere. Logits are enlarged bilinearly, labels by repetition."""

    full_state_update = False
    confusion_KK: Tensor

    def __init__(self, classes: int, ignore: int) -> None:
        super().__init__()
        self.classes, self.ignore = classes, ignore
        self.add_state("confusion_KK", torch.zeros(classes, classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, output: Tensor, target_BHW: Tensor) -> None:
        self.confusion_KK += self.confusions(output, target_BHW).sum(0)

    def confusions(self, output: Tensor, target_BHW: Tensor) -> Tensor:
        """Pixels of each image by the id in the mask (rows) and the predicted id, int64 (B, K, K).

        Pixels that do not count have a place of their own: to choose the others, the CPU would wait for a GPU."""
        batch, places = len(target_BHW), self.classes**2
        index_BN = (target_BHW.long() * self.classes + predicted(output, target_BHW).long()).flatten(1)
        index_BN = index_BN.where((target_BHW != self.ignore).flatten(1), places)
        counts_BP = index_BN.new_zeros(batch, places + 1).scatter_add_(1, index_BN, torch.ones_like(index_BN))
        return counts_BP[:, :places].reshape(batch, self.classes, self.classes)

    def compute(self) -> Tensor:
        iou_K = self.per_class()
        return iou_K[~iou_K.isnan()].mean() if (~iou_K.isnan()).any() else iou_K.new_zeros(())

    def per_class(self) -> Tensor:
        """The intersection over union of each class, float64 (K,); not a number where no mask holds it."""
        return iou(self.confusion_KK)


def predicted(output: Tensor, target_BHW: Tensor) -> Tensor:
    """The labels (B, H, W) of logits or labels, at the size of the masks."""
    size = target_BHW.shape[-2:]
    if output.ndim == 4:
        same = output.shape[-2:] == size
        return (output if same else F.interpolate(output, size=size, mode="bilinear")).argmax(1)
    if output.shape[-2:] == size:
        return output
    return F.interpolate(output[:, None].float(), size=size, mode="nearest-exact")[:, 0].long()


def iou(confusion_KK: Tensor) -> Tensor:
    """The intersection over union of each class, float64 (K,); not a number where no mask holds it."""
    both_K, in_mask_K = confusion_KK.diagonal().double(), confusion_KK.sum(1).double()
    union_K = in_mask_K + confusion_KK.sum(0) - both_K
    return torch.where(in_mask_K > 0, both_K / union_K.clamp(min=1), torch.nan)
