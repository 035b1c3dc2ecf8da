"""Data sets by registered name or import path, and the `data` section of a sweep turned into its data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ffnet_search.config.files import expanded
from ffnet_search.config.schema import Augment, DataSection
from ffnet_search.data.dataset import DataSet, Fold, hold_out
from ffnet_search.data.files import Files, divide
from ffnet_search.data.layout import TRAIN, VALIDATION
from ffnet_search.data.look import look_at
from ffnet_search.data.unreadable import refuse_unreadable
from ffnet_search.errors import SweepError
from ffnet_search.imports.modules import find_module
from ffnet_search.plugins import Registry, find_class, import_path, is_import_path
from ffnet_search.space.input import Input
from ffnet_search.space.sides import height_and_width
from ffnet_search.tasks.base import task_of

if TYPE_CHECKING:
    from ffnet_search.data.modules.base import Data

DATASETS: Registry = {
    "digits": "ffnet_search.data.digits:Digits",
    "cifar10": "ffnet_search.data.cifar:Cifar10",
    "cifar100": "ffnet_search.data.cifar:Cifar100",
    "image_folder": "ffnet_search.data.image_folder:ImageFolder",
    "mask_folder": "ffnet_search.data.mask_folder:MaskFolder",
    "picture_table": "ffnet_search.data.picture_table:PictureTable",
    "photo_folder": "ffnet_search.data.photo_set.photo_folder:PhotoFolder",
}


def build_data(section: DataSection, seed: int, input: Input, fold: Fold | None = None) -> Data:
    """Read and split the data; `fold` is held out in the place of search validation, of data that a registered name
    has. Raises SweepError if they are missing, broken, or do not fit `input`."""
    # Imported here: a check needs no Lightning, which takes seconds to import.
    from ffnet_search.data.modules.base import Data
    from ffnet_search.data.modules.user_data import UserData

    check_data(section, input)
    if is_import_path(section.name):
        return UserData(section, seed, input)
    dataset = _find_dataset(section, input)
    module: type[Data] = find_class(dataset.module, "data.name", Data)
    return module(dataset.read(section, input), section, seed, task_of(input), fold)


def read_data(section: DataSection, seed: int, input: Input) -> tuple[str, ...]:
    """Raise the SweepError of `build_data` and of training on it; keep no image, and import no augmentation. Returns
    the names of the outputs."""
    section = section.model_copy(update={"in_memory_mb": 0})
    outputs = read_as_training(section, seed, input)
    if not is_import_path(section.name) and section.unreadable == "refuse":
        refuse_unreadable(_find_dataset(section, input).late(section, input))
    return outputs


def read_as_training(section: DataSection, seed: int, input: Input) -> tuple[str, ...]:
    """Raise the SweepError of `build_data`, at its cost: masks are read, and images where memory holds them. Returns
    the names of the outputs."""
    return build_data(section.model_copy(update={"augment": Augment()}), seed, input).outputs


def output_names(section: DataSection, input: Input) -> tuple[str, ...]:
    """The names of the outputs, where they are known without reading images; else none. Raises SweepError."""
    return () if is_import_path(section.name) else _find_dataset(section, input).output_names(section, input)


def look_at_images(section: DataSection, input: Input) -> None:
    """Raise SweepError if images that memory does not hold cannot be read, as far as a look of two minutes tells."""
    images = None if is_import_path(section.name) else _find_dataset(section, input).on_demand(section, input)
    if images is not None:
        look_at(images)


def check_data(section: DataSection, input: Input) -> None:
    """Raise the SweepError of `build_data`, as far as it can be found in a second without loading images."""
    name = section.name
    import_path(name, "data.name", DATASETS)
    dataset = None if is_import_path(name) else _find_dataset(section, input)
    _check_options(section, () if dataset is None else dataset.options)
    if dataset is None:
        find_module(name, "data.name")
    elif section.init_args:
        raise SweepError(f"data.init_args are for a data module by import path, but data.name is {name!r}; remove them")
    else:
        _check_augment(section.augment, input, "patch" in dataset.options)
        dataset.check(section, input)


def _check_options(section: DataSection, own: Sequence[str]) -> None:
    """Raise SweepError if an option of other data sets is set."""
    changed = section.model_dump(exclude_defaults=True)
    for option in (option for name in DATASETS for option in _dataset(name).options if option not in own):
        first, _, field = option.partition(".")
        if field in changed.get(first, {}) if field else first in changed:
            takers = " or ".join(name for name in DATASETS if option in _dataset(name).options)
            raise SweepError(
                f"data.{option} is for {takers}, but data.name is {section.name!r}; change that, or remove it"
            )


def _check_augment(augment: Augment, input: Input, in_patches: bool) -> None:
    """Raise SweepError if training images cannot be augmented so. `in_patches`: they are cut into squares."""
    height, width = height_and_width(input.resolution)
    for index, transform in enumerate(augment.transforms):
        if task_of(input).target_fill is not None and transform.takes != "array":
            raise SweepError(
                f"data.augment.transforms.{index}.takes must be 'array' for task {input.task!r}, so that an image and "
                f"its mask are changed together (image=, mask=), but is {transform.takes!r}"
            )
    if augment.turn and height != width and not in_patches:
        raise SweepError(
            "data.augment.turn must be left out where images are not square, but input.resolution is "
            f"{[height, width]}; remove it"
        )
    for field in ("crop", "cutout"):
        pixels, side = getattr(augment, field), min(height, width)
        if pixels >= side:
            raise SweepError(
                f"data.augment.{field} must be < {side} (input.resolution in the search space's file), but got {pixels}"
            )


def data_contents(section: DataSection, input: Input) -> dict[str, dict[str, str]]:
    """The files that networks learn from, as `DataSet.contents` has them; empty if none can be listed, among them
    data that are not on this machine."""
    try:
        return {} if is_import_path(section.name) else _find_dataset(section, input).contents(section, input)
    except (SweepError, OSError):
        return {}


def data_parts(section: DataSection, input: Input) -> dict[str, Files]:
    """The image files of each split; empty if the images are not files. Raises SweepError."""
    return {} if is_import_path(section.name) else _find_dataset(section, input).parts(section, input)


def data_folder(section: DataSection) -> str | None:
    """The name, without its place, of the folder or file that the data are in; None for data that the name of the data
    set names."""
    if is_import_path(section.name) or section.path is None or "download" in _dataset(section.name).options:
        return None
    return expanded(section.path).absolute().name or None


def data_title(section: DataSection) -> str:
    """The data in words: `digits`, or `flowers (image_folder)` where they are in a folder."""
    folder = data_folder(section)
    return section.name if folder is None else f"{folder} ({section.name})"


def data_remarks(section: DataSection, input: Input) -> list[str]:
    """Sentences for the user on data that `check_data` accepts: what is left out, which folder is which split."""
    try:
        return [] if is_import_path(section.name) else _find_dataset(section, input).remarks(section, input)
    except (SweepError, OSError):
        return []


def validation_images(section: DataSection, seed: int, input: Input) -> tuple[int, int | None] | None:
    """The images of search validation, and of it and training together, counted without loading any (so with those
    that cannot be read); None if that is not known so soon. The second is None if the user supplied validation."""
    if is_import_path(section.name):
        return None
    parts = data_parts(section, input)
    if parts:
        splits = divide(parts, task_of(input), section.validation, seed)
        train, held_out = (len(splits[split].names) for split in (TRAIN, VALIDATION))
        return held_out, None if VALIDATION in parts else train + held_out
    images = _find_dataset(section, input).known_images
    if images is None:
        return None
    _, held_out_M = hold_out(None, np.zeros(images, np.int64), section.validation, seed)
    return len(held_out_M), images


def _find_dataset(section: DataSection, input: Input) -> DataSet:
    dataset = _dataset(section.name)
    task = task_of(input).name
    if task not in dataset.tasks:
        raise SweepError(
            f"data.name must be a data set for task {task!r}, but {section.name!r} is one for "
            f"{' or '.join(map(repr, dataset.tasks))}; change data.name or task"
        )
    return dataset


def _dataset(name: str) -> DataSet:
    dataset: DataSet = find_class(name, "data.name", DataSet, DATASETS)()
    return dataset
