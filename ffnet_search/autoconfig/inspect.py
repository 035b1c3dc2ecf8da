"""The content of a user's folder of images: a folder per class is for classification, images/ beside masks/ for
segmentation."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ffnet_search.autoconfig.image_set import HEADERS, MIN_IMAGES, RARE, ImageSet, sample_images
from ffnet_search.config.schema import DataSection
from ffnet_search.data import mask_folder
from ffnet_search.data.files import Files
from ffnet_search.data.image_folder import list_images, remarks_of
from ffnet_search.data.layout import TRAIN, class_names, find_classes, find_layout, image_bytes
from ffnet_search.data.masks import must_hold_classes, pixels_of, read_ids, read_masks
from ffnet_search.errors import SweepError
from ffnet_search.formatting import first_few
from ffnet_search.space.input import Input
from ffnet_search.tasks.base import Targets
from ffnet_search.tasks.segmentation import IGNORE


@dataclass(frozen=True)
class MaskSet(ImageSet):
    """A folder of images with masks. `counts`: the training images in whose sampled masks a class occurs; `pixels`: of
    each class in these masks."""

    task = "segmentation"
    dataset = "mask_folder"
    layout = "images/ and masks/"
    is_whole = True
    masks: tuple[str, ...] = field(repr=False, default=())
    pixels: tuple[int, ...] = ()

    @property
    def is_uneven(self) -> bool:
        held = [count for count in self.pixels if count]
        return bool(held) and max(held) > RARE * min(held)

    @property
    def has_rare(self) -> bool:
        return False  # the overlap in the loss counts classes alike already

    @property
    def uneven_warnings(self) -> list[str]:
        if not self.is_uneven:
            return []
        shares = [
            f"{name} {count / sum(self.pixels):.1%}" for name, count in zip(self.classes, self.pixels, strict=True)
        ]
        return [
            f"classes are uneven ({first_few(shares)} of the pixels): train.class_weights finds more of the rare ones, "
            "and marks more by mistake, which costs mIoU as a rule"
        ]

    def targets(self, indices: Sequence[int], input: Input) -> Targets:
        files, masks = ([some[index] for index in indices] for some in (self.files, self.masks))
        return read_masks(masks, files, input, DataSection().workers)

    def __str__(self) -> str:
        return self.described(f"with masks of {len(self.classes)} classes ({', '.join(self.classes)})")

    @property
    def warnings(self) -> list[str]:
        warnings = []
        if self.total < MIN_IMAGES:
            warnings.append(f"few images to learn from, fewer than {MIN_IMAGES}: {self.total}")
        absent = [name for name, count in zip(self.classes, self.counts, strict=True) if not count]
        if absent:
            warnings.append(f"no sampled mask for training holds {first_few(absent)}")
        return warnings + self.uneven_warnings + self.sample.warnings


def inspect(folder: Path) -> ImageSet:
    """Inspect a folder. Raises SweepError if it has neither a folder per class nor images/ and masks/, or nothing in
    it can be read."""
    section = DataSection(name="mask_folder", path=folder)
    if folder.is_dir() and mask_folder.has_masks(folder):
        return _inspect_masks(folder, section)
    layout = find_layout(DataSection(name="image_folder", path=folder))
    root, classes = layout.train, find_classes(layout.train)
    listed = {split: list_images(place, classes) for split, place in layout.splits.items()}
    files = listed[TRAIN].paths
    if not files:
        raise SweepError(f"data.path: {root} must hold images in its folders {first_few(classes)}, but holds none")
    for path in files:
        image_bytes(Path(path))  # refuses links to nothing
    return ImageSet(
        folder=folder,
        classes=classes,
        counts=tuple(np.bincount(listed[TRAIN].targets_N, minlength=len(classes)).tolist()),
        sample=sample_images(root, files),
        parts=listed,
        remarks=tuple(remarks_of(layout)),
    )


def _inspect_masks(folder: Path, section: DataSection) -> MaskSet:
    root, splits = mask_folder.find_splits(section)
    listed = mask_folder.list_splits(splits)
    pairs = listed[TRAIN]
    sample = sample_images(splits[TRAIN].images, pairs.images)
    held = {split: _sampled_pixels(one.masks) for split, one in listed.items()}
    classes = _mask_classes(root, {one for masks in held.values() for pixels in masks for one in pixels} - {IGNORE})
    of_training = sum(held[TRAIN], Counter())
    must_hold_classes(of_training, classes, splits[TRAIN].masks, pairs.masks)
    return MaskSet(
        folder=folder,
        classes=classes,
        counts=tuple(sum(label in pixels for pixels in held[TRAIN]) for label in range(len(classes))),
        pixels=tuple(of_training[label] for label in range(len(classes))),
        sample=sample,
        parts={
            split: Files(one.images, one.names, np.zeros(len(one.images), np.int64)) for split, one in listed.items()
        },
        masks=pairs.masks,
    )


def _sampled_pixels(masks: Sequence[str]) -> list[Counter[int]]:
    return [pixels_of(read_ids(file)) for file in random.Random(0).sample(masks, min(HEADERS, len(masks)))]


def _mask_classes(root: Path, ids: set[int]) -> tuple[str, ...]:
    """The names of the classes, of masks that hold these ids. Raises SweepError if they are not named, though most ids
    below the largest do not occur, or not all are."""
    most = max([1, *ids])
    classes = class_names(root, most + 1)
    if most >= len(classes):
        raise SweepError(
            f"data.path: {root} must name each class (classes.json or classes.txt), but names {len(classes)}, and its "
            f"masks hold id {most}"
        )
    is_named = class_names(root, 0)  # no names but those of a file
    if ids and 2 * len(ids - {most}) < most and not is_named:
        raise SweepError(
            f"data.path: the masks of {root} must hold class ids from 0 on, but of 0 to {most} hold only "
            f"{first_few(list(map(str, sorted(ids))))}: renumber them, or name {most + 1} classes in classes.json"
        )
    return classes
