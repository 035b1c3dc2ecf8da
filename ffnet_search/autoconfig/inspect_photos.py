"""The content of a user's folder of photos without classes, for super-resolution."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ffnet_search.autoconfig.image_set import HEADERS, MIN_IMAGES, ImageSet, sample_images
from ffnet_search.config.schema import PATCH, PATCHES, DataSection
from ffnet_search.data.image_file import turned_size
from ffnet_search.data.layout import TRAIN
from ffnet_search.data.photo_set.photo_folder import must_be_large, photo_parts, refuse_few
from ffnet_search.data.photo_set.photo_listing import Folders, PhotoFile, find_splits, list_photos
from ffnet_search.data.unreadable import Unreadable, attempt
from ffnet_search.errors import SweepError
from ffnet_search.tasks.super_resolution import SCALES

TASK = "super_resolution"
STEP = 8  # pixels that deployed sides are multiples of
DEPLOYED_PIXELS = 1 << 15  # at most, of what networks are measured on; the user's device has its own size
MIN_PATCH = 4


@dataclass(frozen=True)
class PhotoSet(ImageSet):
    """A folder of photos. `deployed`: the sides (height, width) that networks are measured on."""

    task = TASK
    dataset = "photo_folder"
    layout = "photos of any size, reduced and enlarged again"
    items: ClassVar[int] = PATCHES
    deployed: tuple[int, int] = (STEP, STEP)
    photos: tuple[PhotoFile, ...] = ()
    scale: int = SCALES[0]

    @property
    def patch(self) -> int:
        """Pixels a side of the patches to train on: the smallest sampled photo holds one."""
        return max(MIN_PATCH, min(PATCH, self.sample.sides[0] // self.scale))

    def __str__(self) -> str:
        return self.described("to enlarge").replace(" images ", " photos ", 1)

    @property
    def warnings(self) -> list[str]:
        warnings = (
            [f"few photos to learn from, fewer than {MIN_IMAGES}: {self.total}"] if self.total < MIN_IMAGES else []
        )
        return warnings + self.sample.warnings


def holds_pairs(folder: Path) -> bool:
    """True for a folder of photos beside their reduced form, which can be nothing else."""
    try:
        return find_splits(DataSection(name=PhotoSet.dataset, path=folder))[TRAIN].low is not None
    except SweepError:
        return False


def inspect_photos(folder: Path) -> PhotoSet:
    """Inspect a folder of photos. Raises SweepError if it holds none, or nothing in it can be read."""
    splits = find_splits(DataSection(name=PhotoSet.dataset, path=folder))
    scale = _scale(splits[TRAIN])
    listed = {split: list_photos(folders, scale) for split, folders in splits.items()}
    refuse_few(folder, sum(map(len, listed.values())))
    files = [photo.high for photo in listed[TRAIN]]
    sample = sample_images(folder, files)
    must_be_large(random.Random(0).sample(listed[TRAIN], min(HEADERS, len(files))), MIN_PATCH, scale)
    return PhotoSet(
        folder=folder,
        classes=(),
        counts=(),
        sample=sample,
        parts=photo_parts(listed),
        remarks=tuple(remark for folders in splits.values() for remark in folders.remarks),
        deployed=_deployed(files, scale),
        photos=tuple(listed[TRAIN]),
        scale=scale,
    )


def _scale(folders: Folders) -> int:
    """The scale of the first pair that can be read; the usual one of photos without a reduced form."""
    if folders.low is None:
        return SCALES[0]
    for scale in SCALES:
        with suppress(SweepError):  # the names of the reduced photos may end in their scale
            return _scale_of(list_photos(folders, scale))
    list_photos(folders, SCALES[0])
    return SCALES[0]


def _scale_of(photos: Sequence[PhotoFile]) -> int:
    for photo in photos[:HEADERS]:
        high, low = (attempt(file, turned_size, file) for file in (photo.high, str(photo.low)))
        if not (isinstance(high, Unreadable) or isinstance(low, Unreadable)):
            return min(SCALES, key=lambda scale: abs(high[0] * high[1] / (low[0] * low[1]) - scale**2))
    return SCALES[0]


def _deployed(files: Sequence[str], scale: int) -> tuple[int, int]:
    """Height and width of the median photo, reduced, and further to at most `DEPLOYED_PIXELS`."""
    sampled = random.Random(0).sample(files, min(HEADERS, len(files)))
    read = [attempt(file, turned_size, file) for file in sampled]
    sizes = [size for size in read if not isinstance(size, Unreadable)]  # which are reported elsewhere
    width, height = sorted(sizes, key=lambda size: size[0] * size[1])[len(sizes) // 2]
    share = min(1.0, (DEPLOYED_PIXELS / (width * height / scale**2)) ** 0.5) / scale
    low, wide = (max(STEP, STEP * round(share * side / STEP)) for side in (height, width))
    return low, wide
