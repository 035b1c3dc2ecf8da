"""Mix-up and CutMix: what is mixed, by which shares, and which tasks refuse it."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ffnet_search.config.schema import TrainSection
from ffnet_search.training.mixing import mix

IMAGES = torch.arange(16.0)[:, None, None, None].expand(16, 3, 12, 20).contiguous()  # each of its own level
LABELS = torch.arange(16)


def soft(target_B: Tensor, second_B: Tensor, share: float) -> Tensor:
    return share * functional.one_hot(target_B, 16).float() + (1 - share) * functional.one_hot(second_B, 16).float()


@pytest.mark.parametrize("fields", [{"mixup": 0.5}, {"cutmix": 1.0}, {"mixup": 0.5, "cutmix": 1.0}])
def test_what_an_image_shows_is_what_its_targets_say(fields: dict[str, float]) -> None:
    """The level of an image names it, so the mean level of a mixed one must be that of its targets, mixed."""
    cut, recipe = set(), TrainSection(**fields)
    for seed in range(40):
        torch.manual_seed(seed)
        mixed = mix(IMAGES, LABELS, recipe)
        assert mixed.second_B is not None and 0 <= mixed.share <= 1
        expected_B = mixed.share * mixed.first_B + (1 - mixed.share) * mixed.second_B
        assert torch.allclose(mixed.images_BCHW.mean((1, 2, 3)), expected_B, atol=1e-4)
        if 0.05 < mixed.share < 0.95:
            cut.add(bool((mixed.images_BCHW == mixed.images_BCHW.round()).all()))
        output_BK = torch.randn(16, 16, generator=torch.Generator().manual_seed(seed))
        loss = mixed.loss(functional.cross_entropy, output_BK)
        whole = functional.cross_entropy(output_BK, soft(mixed.first_B, mixed.second_B, mixed.share))
        assert torch.allclose(loss, whole, atol=1e-6), "as the loss on soft targets"
    assert cut == {name == "cutmix" for name in fields}
    assert torch.equal(IMAGES[:, 0, 0, 0], torch.arange(16.0)), "the batch that came in is as it was"


def test_masks_are_cut_as_their_images() -> None:
    masks_BHW = IMAGES[:, 0].to(torch.uint8)
    random.seed(0), torch.manual_seed(0)
    mixed = mix(IMAGES, masks_BHW, TrainSection(cutmix=1.0), has_maps=True)
    assert mixed.second_B is None and not torch.equal(mixed.first_B, masks_BHW)
    assert torch.equal(mixed.images_BCHW[:, 0], mixed.first_B.float())
    finer_BHW = masks_BHW.repeat_interleave(2, 1).repeat_interleave(2, 2)
    torch.manual_seed(0)
    assert torch.equal(
        mix(IMAGES, finer_BHW, TrainSection(cutmix=1.0), has_maps=True).first_B[:, ::2, ::2], mixed.first_B
    )
    assert mixed.loss(lambda output, target: target.float().mean(), torch.zeros(1)) == mixed.first_B.float().mean()


def test_nothing_is_drawn_where_nothing_is_mixed() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    mixed = mix(IMAGES, LABELS, TrainSection())
    assert mixed.images_BCHW is IMAGES and mixed.first_B is LABELS and torch.equal(torch.rand(1), expected)
