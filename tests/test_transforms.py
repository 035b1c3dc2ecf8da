"""Transforms by import path: what they are called with, what they may return, and the lines of other libraries."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from augmented_batches import OWN, augmentation, generator, levels
from forgotten import forgotten
from tiny_sweep import sweep

from ffnet_search.config.schema import Augment
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.augmentation.moves import WHOLE
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


def test_a_transform_of_whole_batches_needs_whole_batches(tmp_path: Path) -> None:
    run = sweep(tmp_path)
    batches = {"transforms": [{"class_path": "own_transforms:InvertedBatch", "takes": "batch"}]}
    content = {**run.model_dump(), "data": {**run.data.model_dump(), "augment": batches}}
    Sweep.from_content(content, Path("s.yaml"))
    with pytest.raises(SweepError, match=r"s.yaml: data.augment.transforms.0.takes must be tensor, array or pil where"):
        Sweep.from_content({**content, "train": {"devices": 2}}, Path("s.yaml"))
