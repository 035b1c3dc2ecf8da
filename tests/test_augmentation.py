"""Augmentation of whole batches."""

from __future__ import annotations

import torch

from ffnet_search.config.schema import Augment
from ffnet_search.data.augmentation import augment_batch


def test_crop_and_flip_move_whole_images() -> None:
    images = torch.arange(1.0, 1 + 64 * 2 * 6 * 6).view(64, 2, 6, 6)
    moved = augment_batch(images, Augment(crop=2, flip=True), torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    flipped = shifted = 0
    for image, whole in zip(moved, padded, strict=True):
        found = [
            (y, x, flip)
            for y in range(5)
            for x in range(5)
            for flip in (False, True)
            if torch.equal(image, whole[:, y : y + 6, x : x + 6].flip(2) if flip else whole[:, y : y + 6, x : x + 6])
        ]
        assert len(found) == 1
        flipped, shifted = flipped + found[0][2], shifted + (found[0][:2] != (2, 2))
    assert 16 < flipped < 48 and shifted > 48
    assert moved.is_contiguous(memory_format=torch.channels_last)


def test_cutout_takes_one_square_out_of_every_image() -> None:
    images = torch.ones(200, 3, 9, 9)
    cut = augment_batch(images, Augment(cutout=4), torch.Generator().manual_seed(0))
    for image in cut:
        rows, columns = (image[0] == 0).any(1).sum(), (image[0] == 0).any(0).sum()
        assert 2 <= rows <= 4 and 2 <= columns <= 4 and (image == 0).sum() == 3 * rows * columns
    assert (cut == 0).any(0).all(), "every pixel is cut out of some image"
    assert images.min() == 1, "the batch that came in is as it was"


def test_images_turn_by_quarters_and_masks_with_them() -> None:
    images = torch.randn(64, 2, 5, 5)
    augment = Augment(turn=True, flip=True)
    turned = augment_batch(images, augment, torch.Generator().manual_seed(0))
    found = []
    for image, other in zip(images, turned, strict=True):
        ways = [
            (k, flip)
            for k in range(4)
            for flip in (False, True)
            if torch.equal(other, (image.flip(2) if flip else image).rot90(k, (1, 2)))
        ]
        assert len(ways) == 1
        found += ways
    assert len(set(found)) == 8 and turned.is_contiguous(memory_format=torch.channels_last)
    with_squares = augment_batch(images, augment.model_copy(update={"cutout": 2}), torch.Generator().manual_seed(0))
    assert torch.equal(with_squares, torch.where(with_squares == 0, 0, turned)), "cut out after they have turned"
    shares = [
        augment_batch(images[at : at + 32], augment, torch.Generator().manual_seed(0), at // 32, 2) for at in (0, 32)
    ]
    assert torch.equal(torch.cat(shares), turned)


def test_augmentation_repeats_and_can_be_off() -> None:
    images = torch.randn(8, 3, 8, 8)
    augment = Augment(crop=1, flip=True, cutout=3)
    once, again, other = (augment_batch(images, augment, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(once, again) and not torch.equal(once, other)
    assert augment_batch(images, Augment(), torch.Generator()) is images
