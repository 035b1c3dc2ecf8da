"""From the `data` section of a sweep to its data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ffnet_search.config.schema import DataSection
from ffnet_search.data.cifar import CIFAR10, CIFAR100
from ffnet_search.data.dataset import DataSet
from ffnet_search.data.digits import Digits
from ffnet_search.data.image_folder import ImageFolder
from ffnet_search.errors import SweepError, did_you_mean
from ffnet_search.plugins import find_module
from ffnet_search.space.architecture import Input

if TYPE_CHECKING:
    from ffnet_search.data.datamodule import Data

DATASETS: dict[str, DataSet] = {
    "digits": Digits(),
    "cifar10": CIFAR10,
    "cifar100": CIFAR100,
    "image_folder": ImageFolder(),
}


def build_data(data: DataSection, seed: int, input: Input) -> Data:
    """Reads and splits the data. Raises SweepError where they are missing, broken, or do not fit `input`.

    >>> data = build_data(DataSection(), seed=0, input=Input(channels=1, resolution=8, classes=10))  # doctest: +SKIP
    >>> images, labels = next(iter(data.train_dataloader()))  # doctest: +SKIP
    """
    from ffnet_search.data.datamodule import ImageData
    from ffnet_search.data.user_datamodule import (
        UserData,  # Lightning takes seconds to import, which a check need not wait for
    )

    _check(data, input)
    if ":" in data.name:
        return UserData(data, seed, input)
    return ImageData(DATASETS[data.name].read(data, input), data, seed)


def check_data(data: DataSection, input: Input) -> None:
    """Raises the SweepError of `build_data` as far as it can be found in a second, without loading images."""
    _check(data, input)
    if ":" in data.name:
        find_module(data.name, "data.name")
    else:
        DATASETS[data.name].check(data, input)


def _check(data: DataSection, input: Input) -> None:
    foreign = ":" in data.name
    if not foreign and data.name not in DATASETS:
        raise SweepError(
            f"data.name: {data.name!r} is neither a known data set nor package.module:Class"
            f"{did_you_mean(data.name, DATASETS)}"
        )
    if not foreign and data.init_args:
        raise SweepError(
            f"data.init_args are for a data module by import path, but data.name is {data.name!r}; remove them"
        )
    if foreign and data.augment != type(data.augment)():
        raise SweepError(f"data.augment must be left out for {data.name}, which augments its images by itself")
    if data.augment.resized_crop and data.name != "image_folder":
        raise SweepError(f"data.augment.resized_crop is for image_folder, but data.name is {data.name!r}; use crop")
    for field in ("crop", "cutout"):
        if getattr(data.augment, field) >= input.resolution:
            raise SweepError(
                f"data.augment.{field} must be < {input.resolution} (input.resolution in the search space's file), "
                f"but got {getattr(data.augment, field)}"
            )
