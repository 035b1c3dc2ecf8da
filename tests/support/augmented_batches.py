"""Batches and augmentations for tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ffnet_search.config.schema import Augment
from ffnet_search.data.augmentation.batches import Augmentation
from ffnet_search.data.augmentation.transforms import make_transforms
from ffnet_search.strict_yaml import parse


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def levels(count: int = 8, channels: int = 3, sides: tuple[int, int] = (10, 14)) -> Tensor:
    """Images in levels of 255."""
    return torch.randint(0, 256, (count, channels, *sides), generator=generator()).float()


def augmentation(fill: int | None = None, **fields: Any) -> Augmentation:
    section = parse(Augment, fields, "augment")
    return Augmentation(section, torch.tensor([120.0, 90, 60]), torch.full((3,), 50.0), fill, make_transforms(section))


OWN = {"transforms": [{"class_path": "own_transforms:Speckle", "init_args": {"spread": 9.0}}]}
