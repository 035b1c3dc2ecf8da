"""Augmentation of whole batches: what is moved, changed and mixed, and that it repeats on any number of ranks."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from forgotten import forgotten
from tiny_sweep import sweep
from torch import Tensor

from ffnet_search.config.schema import Augment
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.augmentation import colour
from ffnet_search.data.augmentation.batches import Augmentation
from ffnet_search.data.augmentation.moves import WHOLE, Share, cut_out, shift_flip_and_turn
from ffnet_search.data.augmentation.rand_augment import OPERATIONS, WARPS, RandAugment, grid, sampled
from ffnet_search.data.augmentation.seeded import seeded
from ffnet_search.data.augmentation.transforms import make_transforms
from ffnet_search.errors import SweepError
from ffnet_search.strict_yaml import parse

TORCHVISION = """
import torch

class GaussianBlur(torch.nn.Module):
    def __init__(self, kernel_size, sigma=(0.1, 2.0)):
        super().__init__()
        assert kernel_size == 3

    def forward(self, *inputs):
        image_CHW, = inputs
        assert isinstance(image_CHW, torch.Tensor) and image_CHW.dtype == torch.uint8 and image_CHW.ndim == 3
        return 255 - image_CHW
"""
ALBUMENTATIONS = """
import numpy as np

class CLAHE:
    def __init__(self, clip_limit=4.0, tile_grid_size=(8, 8), p=0.5):
        assert p == 0.5

    def set_random_seed(self, seed):
        self.seed = seed

    def __call__(self, *args, force_apply=False, **data):
        assert not args and set(data) == {"image"} and self.seed is not None
        assert isinstance(data["image"], np.ndarray) and data["image"].dtype == np.uint8
        return {"image": 255 - data["image"]}
"""
STAND_INS = {
    "torchvision/__init__.py": "",
    "torchvision/transforms/__init__.py": "",
    "torchvision/transforms/v2/__init__.py": TORCHVISION,
    "albumentations/__init__.py": ALBUMENTATIONS,
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def levels(count: int = 8, channels: int = 3, sides: tuple[int, int] = (10, 14)) -> Tensor:
    """Images in levels of 255."""
    return torch.randint(0, 256, (count, channels, *sides), generator=generator()).float()


def augmentation(fill: int | None = None, **fields: Any) -> Augmentation:
    section = parse(Augment, fields, "augment")
    return Augmentation(section, torch.tensor([120.0, 90, 60]), torch.full((3,), 50.0), fill, make_transforms(section))


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
OWN = {"transforms": [{"class_path": "own_transforms:Speckle", "init_args": {"spread": 9.0}}]}


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


# Transforms of the user's


@pytest.mark.parametrize("takes", ["tensor", "batch", "array", "pil"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_transform_is_called_with_what_it_takes(takes: str, channels: int) -> None:
    section = parse(
        Augment, {"transforms": [{"class_path": f"own_transforms.Inverted{takes.title()}", "takes": takes}]}, "augment"
    )
    [transform] = make_transforms(section)
    pixels = levels(channels=channels).byte()
    made, _ = transform(pixels, None, [0], 0)
    assert torch.equal(made, 255 - pixels)


def test_a_mask_is_handed_over_by_name() -> None:
    section = parse(Augment, {"transforms": [{"class_path": "own_transforms:Mirror", "takes": "array"}]}, "augment")
    [transform] = make_transforms(section)
    mask_BHW = torch.randint(0, 3, (8, 10, 14), generator=generator()).byte()
    made, masks = transform(levels().byte(), mask_BHW, [0], 0)
    assert torch.equal(made, levels().byte().flip(3)) and masks is not None and torch.equal(masks, mask_BHW.flip(2))


def test_the_generators_of_the_caller_are_left_alone() -> None:
    def draws() -> tuple[float, float, float]:
        return float(torch.rand(())), float(np.random.standard_normal()), random.random()  # noqa: NPY002

    batch, augment = ((levels() - 100) / 50, torch.arange(8)), augmentation(**OWN)
    with seeded(1):
        expected = draws()
    with seeded(1):
        augment(batch, [0], WHOLE)
        assert draws() == expected


@pytest.mark.parametrize(
    ("one", "problem"),
    [
        ("own_transforms:Shrunk", r"transforms.0: own_transforms:Shrunk must return what it is given \(takes: ten.*\), "
                                  r"torch.uint8 \(3, 10, 14\), but returned torch.uint8 \(3, 5, 14\)"),
        ("own_transforms:Floats", r"but returned torch.float32 \(3, 10, 14\)"),
        ({"class_path": "own_transforms:Nothing", "takes": "pil"}, r"but returned NoneType"),
        ("own_transforms:NoCall", r"transforms.0: own_transforms:NoCall must have __call__, .* has none"),
        ("own_transforms:Speckel", r"transforms.0.class_path: .* did you mean 'Speckle'"),
        ({"class_path": "own_transforms:Speckle", "init_args": {"spred": 1}},
         r"transforms.0.init_args must fit Speckle.* did you mean 'spread'"),
    ],
)  # fmt: skip
def test_other_results_and_classes_are_refused_in_one_sentence(one: Any, problem: str) -> None:
    with pytest.raises(SweepError, match=problem):
        augmentation(transforms=[one])(((levels() - 100) / 50, torch.arange(8)), [0], WHOLE)


def test_the_documented_lines_of_other_libraries_are_called_as_they_want(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stand-ins that take what the real classes do: torchvision v2 a uint8 tensor, albumentations an array by name."""
    page = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    lines = re.findall(r"^ +# - (\{class_path: (?:torchvision|albumentations).+\})", page, re.M)
    assert len(lines) == 2
    for path, text in STAND_INS.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    section = parse(Augment, {"transforms": [yaml.safe_load(line) for line in lines]}, "augment")
    with forgotten("torchvision"), forgotten("albumentations"):
        for transform in make_transforms(section):
            changed, _ = transform(levels().byte(), None, [0], 0)
            assert torch.equal(changed, 255 - levels().byte())


def test_transforms_of_albumentations_take_arrays() -> None:
    [one] = parse(Augment, {"transforms": ["albumentations.CLAHE"]}, "augment").transforms
    assert (one.class_path, one.takes) == ("albumentations:CLAHE", "array")


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


def test_a_transform_of_whole_batches_needs_whole_batches(tmp_path: Path) -> None:
    run = sweep(tmp_path)
    batches = {"transforms": [{"class_path": "own_transforms:InvertedBatch", "takes": "batch"}]}
    content = {**run.model_dump(), "data": {**run.data.model_dump(), "augment": batches}}
    Sweep.from_content(content, Path("s.yaml"))
    with pytest.raises(SweepError, match=r"s.yaml: data.augment.transforms.0.takes must be tensor, array or pil where"):
        Sweep.from_content({**content, "train": {"devices": 2}}, Path("s.yaml"))
