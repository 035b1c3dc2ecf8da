"""Augmentation of whole batches: what is moved, changed and mixed, and that it repeats on any number of ranks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from augmented_batches import OWN, augmentation, generator, levels

from ffnet_search.config.schema import Augment
from ffnet_search.data.augmentation import colour
from ffnet_search.data.augmentation.moves import WHOLE, Share, cut_out, shift_flip_and_turn
from ffnet_search.data.augmentation.rand_augment import OPERATIONS, WARPS, RandAugment, grid, sampled


def test_crop_and_flip_move_whole_images() -> None:
    images = torch.arange(1.0, 1 + 64 * 2 * 6 * 6).view(64, 2, 6, 6)
    moved = shift_flip_and_turn(images, Augment(crop=2, flip=True), generator())
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
    cut = cut_out(images, 4, generator())
    for image in cut:
        rows, columns = (image[0] == 0).any(1).sum(), (image[0] == 0).any(0).sum()
        assert 2 <= rows <= 4 and 2 <= columns <= 4 and (image == 0).sum() == 3 * rows * columns
    assert (cut == 0).any(0).all(), "every pixel is cut out of some image"
    assert images.min() == 1, "the batch that came in is as it was"


def test_images_turn_by_quarters() -> None:
    images, augment = torch.randn(64, 2, 5, 5), Augment(turn=True, flip=True)
    turned = shift_flip_and_turn(images, augment, generator())
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
    shares = [shift_flip_and_turn(images[at : at + 32], augment, generator(), Share(at // 32, 2)) for at in (0, 32)]
    assert torch.equal(torch.cat(shares), turned)


EVERYTHING = {"crop": 1, "flip": True, "cutout": 3, "randaugment": 2, "magnitude": 15, "jitter": 0.4, "hue": 0.1}


@pytest.mark.parametrize("fields", [{"crop": 1, "flip": True, "cutout": 3}, EVERYTHING, OWN | EVERYTHING])
def test_a_batch_is_a_function_of_its_key_on_any_number_of_ranks(fields: dict[str, Any]) -> None:
    batch = (levels() - 100) / 50, torch.arange(8)
    augment = augmentation(**fields)
    once, again = (augment(batch, [0, 4, 1, 2], WHOLE) for _ in range(2))
    assert torch.equal(once[0], again[0]) and once[1] is batch[1]
    assert once[0].is_contiguous(memory_format=torch.channels_last) and once[0].shape == batch[0].shape
    for other in ([1, 4, 1, 2], [0, 4, 1, 3]):
        assert not torch.equal(augment(batch, other, WHOLE)[0], once[0])
    shares = [augment((batch[0][at : at + 4], batch[1]), [0, 4, 1, 2], Share(at // 4, 2))[0] for at in (0, 4)]
    assert torch.allclose(torch.cat(shares), once[0], atol=1e-5)


def test_nothing_to_do_gives_the_same_tensors() -> None:
    batch = (levels() - 100) / 50, torch.arange(8)
    assert augmentation()(batch, [0], WHOLE)[0] is batch[0]


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_operation_grows_with_the_magnitude(name: str, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ffnet_search.data.augmentation.rand_augment.OPERATIONS", (name,))
    light_HW = torch.linspace(10, 230, 24)[:, None] + torch.linspace(0, 20, 16)  # smooth: further is more different
    light_HW[::2, ::2] += 4
    images = torch.stack([light_HW, light_HW.flip(0), light_HW.flip(1)])[:channels].repeat(4, 1, 1, 1)
    edge_C = torch.full((channels,), 70.0)
    made = [RandAugment(1, size, edge_C)(images, None, generator(), WHOLE, 0)[0] for size in (0, 8, 30)]
    assert all(one.min() >= 0 and one.max() <= 255 and one.shape == images.shape for one in made)
    distance = [float((one - images).abs().mean()) for one in made]
    if name in ("auto_contrast", "equalize"):
        assert distance[0] == distance[2]
    elif name == "identity" or (name == "saturation" and channels == 1):
        assert max(distance) < 1e-3
    else:
        assert distance[0] < 1 and distance[0] < distance[1] < distance[2]


def test_a_rectangle_is_turned_and_not_distorted() -> None:
    """A straight line through the middle, turned by 30 degrees, is a straight line at 30 degrees."""
    line = torch.zeros(1, 1, 41, 81)
    line[..., 20, :] = 255
    matrix_B22, shift_B2 = WARPS["rotate"](1.0, torch.ones(1))
    turned = sampled(line, grid(matrix_B22, shift_B2, line.shape[2:]), torch.zeros(1, 1, 1), "bilinear")
    y, x = np.nonzero(turned[0, 0].numpy() > 100)
    slope = np.polyfit(x, y, 1)[0]
    assert abs(abs(np.degrees(np.arctan(slope))) - 30) < 1


def test_masks_move_with_their_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a mask as image and as mask, both are the same afterwards, where the mask counts."""
    mask_BHW = torch.zeros(32, 24, 20, dtype=torch.uint8)
    mask_BHW[:, 6:18, 5:12] = 2
    images, augment = mask_BHW[:, None].float() * 100, RandAugment(2, 20, torch.zeros(1))
    same_BHW = augment(images, mask_BHW, generator(), WHOLE, 255)[1]
    assert same_BHW is not None and 0 < (same_BHW == mask_BHW).flatten(1).all(1).sum() < 32, "colours move no mask"
    monkeypatch.setattr("ffnet_search.data.augmentation.rand_augment.OPERATIONS", tuple(WARPS))
    moved, moved_BHW = augment(images, mask_BHW, generator(), WHOLE, 255)
    assert moved_BHW is not None and moved_BHW.dtype == torch.uint8 and set(moved_BHW.unique().tolist()) == {0, 2, 255}
    assert mask_BHW.max() == 2, "the masks that came in are as they were"
    agree = ((moved[:, 0] > 100) == (moved_BHW == 2)) | (moved_BHW == 255)
    assert agree.float().mean((1, 2)).min() > 0.9 and agree.float().mean() > 0.98


def test_colours_change_as_stated() -> None:
    images = levels()
    ones = torch.ones(8)
    for change in (colour.brightness, colour.contrast, colour.saturation, colour.sharpness):
        assert torch.allclose(change(images, ones), images, atol=1e-3)
    assert torch.allclose(colour.turn_hue(images, ones), images, atol=0.1), "a whole turn"
    turned = colour.turn_hue(images, ones / 3)
    assert torch.allclose(colour.grey(turned), colour.grey(images), atol=0.2)
    assert (turned - images).abs().mean() > 20
    assert torch.equal(colour.turn_hue(images[:, :1], ones), images[:, :1])
    assert torch.allclose(colour.saturation(images, 0 * ones), colour.grey(images).expand_as(images))
    spread = colour.auto_contrast(images / 2 + 40)
    assert torch.allclose(spread.amin((2, 3)), torch.zeros(8, 3), atol=1e-3)
    assert torch.allclose(spread.amax((2, 3)), torch.full((8, 3), 255.0), atol=1e-3)
    flat = torch.full((1, 1, 4, 4), 7.0)
    assert torch.equal(colour.auto_contrast(flat), flat) and torch.equal(colour.equalize(flat), flat)
    ramp = torch.arange(256.0).view(1, 1, 16, 16)
    assert torch.allclose(colour.equalize(ramp), ramp) and torch.allclose(colour.equalize(ramp / 4).amax(), ramp.amax())
    assert colour.posterize(ramp, 4).unique().tolist() == [16.0 * step for step in range(16)]
    assert colour.solarize(ramp, 128).max() == 127


def test_data_of_every_kind_are_augmented_alike(make_data: Callable[..., Any], layouts: Path) -> None:
    """In memory and streamed by workers, after the same key."""
    changed = {"augment": EVERYTHING | OWN, "workers": 1}
    for kind in ("folder_grey", "masks", "numbers"):
        own = {} if kind != "masks" else {"transforms": [{"class_path": "own_transforms:Mirror", "takes": "array"}]}
        changed = {"augment": EVERYTHING | OWN | own, "workers": 1}
        data, streamed = make_data(kind, **changed), make_data(kind, in_memory_mb=0, calibration=10_000, **changed)
        first, other = (next(iter(one.train_dataloader())) for one in (data, streamed))
        made, same = data.augment(first, 0, 0), streamed.augment(other, 0, 0)
        assert (made[0] - same[0]).abs().mean() < 0.05 and torch.equal(made[1], same[1])
        assert not torch.equal(made[0], first[0])
