"""Losses and the quality of segmentation: pixels that do not count, other strides, classes that no mask holds."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ffnet_search.space.registry import with_recipe
from ffnet_search.tasks.base import find_task
from ffnet_search.tasks.mean_iou import MeanIoU
from ffnet_search.tasks.segmentation import IGNORE

TASK = find_task("segmentation")
MASK_BHW = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, IGNORE], [0, 0, 0, 0], [2, 2, 0, 0]]], dtype=torch.uint8)


def logits(seed: int = 0, side: int = 4) -> torch.Tensor:
    return torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_of_pixels_that_count_and_of_classes_that_masks_hold(smoothing: float) -> None:
    """Class 3 is in no mask: what is predicted of it counts for the other classes alone."""
    kept_HW = MASK_BHW[0] != IGNORE
    logits_NK, class_N = logits()[0][:, kept_HW].T, MASK_BHW[0][kept_HW].long()
    entropy = F.cross_entropy(logits_NK, class_N, label_smoothing=smoothing)
    share_NK = logits_NK.softmax(1)
    dice = [2 * share_NK[class_N == k, k].sum() / (share_NK[:, k].sum() + (class_N == k).sum()) for k in range(3)]
    expected = entropy + 1 - torch.stack(dice).mean()
    torch.testing.assert_close(TASK.loss(logits(), MASK_BHW, smoothing), expected)


def test_a_small_class_counts_as_much_as_a_large_one() -> None:
    """One pixel of 64 that is found adds half of the overlap, and hardly changes the cross-entropy."""
    mask_BHW = torch.zeros(1, 8, 8, dtype=torch.uint8)
    mask_BHW[0, 3, 4] = 1
    sure = 20 * F.one_hot(mask_BHW.long(), 2).movedim(-1, 1).float()
    missed = sure.clone()
    missed[0, :, 3, 4] = torch.tensor([2.0, -2.0])
    assert TASK.loss(sure, mask_BHW, 0.0) < 1e-6
    assert TASK.loss(missed, mask_BHW, 0.0) > 0.45


def test_masks_are_learnt_without_label_smoothing_unless_the_sweep_asks() -> None:
    for train, expected in ({}, (0.0, 0.98)), ({"label_smoothing": 0.1, "ema": 0.0}, (0.1, 0.0)):
        recipe = with_recipe({"train": train}, "segmentation")["train"]
        assert (recipe["label_smoothing"], recipe["ema"]) == expected


def test_a_mask_where_nothing_counts_has_no_loss_and_no_quality() -> None:
    output = logits().requires_grad_()
    loss = TASK.loss(output, torch.full_like(MASK_BHW, IGNORE), 0.1)
    (gradient,) = torch.autograd.grad(loss, output)
    assert loss == 0 and gradient.abs().max() == 0
    metric = MeanIoU(4, IGNORE)
    metric.update(output.detach(), torch.full_like(MASK_BHW, IGNORE))
    assert metric.compute() == 0


def test_teacher_and_student_may_have_other_strides() -> None:
    soft_target = TASK.soft_target(logits(side=8))
    student = F.interpolate(logits(1), size=(8, 8), mode="bilinear")
    expected = (soft_target * (soft_target.log() - student.log_softmax(1))).sum(1).mean()
    torch.testing.assert_close(TASK.distillation_loss(logits(1), soft_target), expected)


def test_what_counts_nowhere_is_not_distilled() -> None:
    teacher, student = logits(side=4), logits(1, side=4)
    mask_BHW = torch.zeros(len(teacher), 8, 8, dtype=torch.uint8)
    mask_BHW[:, :3] = IGNORE  # a row of the head, and half of one: what half counts of does
    soft_target = TASK.counting(TASK.soft_target(teacher), mask_BHW)
    part = TASK.distillation_loss(student[:, :, 1:], TASK.soft_target(teacher)[:, :, 1:])
    torch.testing.assert_close(TASK.distillation_loss(student, soft_target), part)
    nothing = TASK.counting(TASK.soft_target(teacher), torch.full_like(mask_BHW, IGNORE))
    assert TASK.distillation_loss(student, nothing) == 0


def test_iou_is_of_summed_pixels_and_of_classes_that_masks_hold() -> None:
    """Class 3 is predicted and in no mask: it takes from the others, and is no class of its own."""
    metric = MeanIoU(4, IGNORE)
    labels_BHW = torch.tensor([[[0, 0, 1, 0], [0, 3, 1, 3], [0, 0, 0, 0], [2, 0, 0, 0]]], dtype=torch.int32)
    for one, mask in ((labels_BHW, MASK_BHW), (labels_BHW, MASK_BHW)):
        metric.update(one, mask)
    iou_K = metric.per_class()
    torch.testing.assert_close(iou_K[:3], torch.tensor([9 / 12, 2 / 3, 1 / 2], dtype=torch.float64))
    assert iou_K[3].isnan()
    assert float(metric.compute()) == pytest.approx((9 / 12 + 2 / 3 + 1 / 2) / 3)


def test_logits_and_labels_of_a_stride_are_brought_to_the_size_of_the_mask() -> None:
    output = logits(side=2)
    by_hand, by_metric, by_labels = MeanIoU(4, IGNORE), MeanIoU(4, IGNORE), MeanIoU(4, IGNORE)
    by_hand.update(F.interpolate(output, size=(4, 4), mode="bilinear"), MASK_BHW)
    by_metric.update(output, MASK_BHW)
    assert torch.equal(by_hand.confusion_KK, by_metric.confusion_KK)
    by_labels.update(output.argmax(1).int(), MASK_BHW)
    by_hand.reset()
    by_hand.update(output.argmax(1).repeat_interleave(2, 1).repeat_interleave(2, 2), MASK_BHW)
    assert torch.equal(by_hand.confusion_KK, by_labels.confusion_KK)


def test_the_stratum_of_a_mask_is_its_commonest_object() -> None:
    masks = torch.stack([MASK_BHW[0], torch.zeros(4, 4), torch.full((4, 4), IGNORE), torch.full((4, 4), 2)])
    assert TASK.strata(masks.byte().numpy()).tolist() == [1, 0, 0, 2]


def test_a_user_supplied_data_module_gives_masks() -> None:
    from image_data import section

    from ffnet_search.data.registry import build_data
    from ffnet_search.errors import SweepError
    from ffnet_search.space.input import Input

    data = build_data(section("user_data:MyMasks"), 0, Input(3, 8, 4, "segmentation"))
    images_BCHW, masks_BHW = next(iter(data.train_dataloader()))
    assert data.outputs[0] == "sky" and images_BCHW.shape[2:] == masks_BHW.shape[1:] and TASK.accepts(masks_BHW)
    with pytest.raises(
        SweepError, match=r"train_dataloader of user_data:MyData must give uint8 masks, but gave torch.int64"
    ):
        build_data(section("user_data:MyData"), 0, Input(3, 8, 4, "segmentation"))
