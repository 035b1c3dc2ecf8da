"""The content of a user's folder of images: classes, counts, sizes, colour. Reads a sample's headers, few pixels."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ffnet_search.config.schema import DataSection
from ffnet_search.data.image_folder import Labels, find_classes, find_roots, list_images, to_mode
from ffnet_search.errors import SweepError

HEADERS = 400  # images whose size is read
DECODED = 40  # images that are decoded, to see whether they are grey
GREY = 2.0  # levels of 255 that a grey image's channels may differ by: JPEG stores them apart
LEAST = 20  # images per class below which a split into three says little
UNEVEN = 10  # times the images of the smallest class


@dataclass(frozen=True)
class ImageSet:
    """A folder of images, one folder per class, as inspected. `files` and `labels_N` are for training."""

    folder: Path
    classes: tuple[str, ...]
    counts: tuple[int, ...]  # training images per class
    tests: int | None  # images in a separate test folder
    side: int  # median of the shorter sides, in pixels
    sides: tuple[int, int]  # the shortest and the longest of them
    channels: int
    broken: tuple[str, ...]  # unreadable files of the sample
    files: tuple[str, ...] = field(repr=False)
    labels_N: Labels = field(repr=False, compare=False)

    @property
    def total(self) -> int:
        """The number of training images."""
        return sum(self.counts)

    def __str__(self) -> str:
        least, most = self.sides
        sizes = f"{self.side} pixels" if least == most else f"{self.side} pixels in the middle ({least} to {most})"
        tests = "" if self.tests is None else f" and {self.tests:,} for testing"
        colour = "grey" if self.channels == 1 else "colour"
        return f"{self.total:,} images of {len(self.classes)} classes{tests}, {colour}, shorter side {sizes}"

    @property
    def warnings(self) -> list[str]:
        """Remarks for the user, before hours are spent."""
        warnings = []
        few = [f"{name} ({count})" for name, count in zip(self.classes, self.counts, strict=True) if count < LEAST]
        if few:
            warnings.append(f"few images to learn from, fewer than {LEAST}: {_some(few)}")
        if max(self.counts) > UNEVEN * min(self.counts):
            warnings.append(
                f"classes are uneven ({min(self.counts):,} to {max(self.counts):,} images); each image counts the "
                "same, so the largest classes decide"
            )
        if self.broken:
            warnings.append(f"cannot be read as images, remove or replace them: {_some(self.broken)}")
        return warnings


def inspect(folder: Path) -> ImageSet:
    """Inspect a folder. Raises SweepError where it has no folder per class, or nothing in it can be read."""
    root, test_root = find_roots(DataSection(name="image_folder", path=folder))
    classes = find_classes(root)
    files, labels, _ = list_images(root, classes)
    if not files:
        raise SweepError(f"data.path: {root} must hold images in its folders {_some(classes)}, but holds none")
    sides: list[int] = []
    grey: list[bool] = []
    broken: list[str] = []
    for number, file in enumerate(random.Random(0).sample(files, min(HEADERS, len(files)))):
        try:
            with Image.open(file) as image:
                sides.append(min(image.size))
                if number < DECODED:
                    grey.append(_is_grey(image))
        except Exception as error:  # Pillow's plugins raise anything at a broken file
            broken.append(f"{file} ({error or type(error).__name__})")
    if not grey:
        raise SweepError(f"data.path: none of the sampled images in {root} can be read: {_some(broken)}")
    return ImageSet(
        folder=folder,
        classes=classes,
        counts=tuple(np.bincount(labels, minlength=len(classes)).tolist()),
        tests=None if test_root is None else len(list_images(test_root, classes)[0]),
        side=int(statistics.median_low(sides)),
        sides=(min(sides), max(sides)),
        channels=1 if all(grey) else 3,
        broken=tuple(broken),
        files=tuple(files),
        labels_N=labels,
    )


def _is_grey(image: Image.Image) -> bool:
    image.draft(None, (64, 64))
    pixels_HWC = np.asarray(to_mode(image, "RGB").resize((16, 16))).astype(np.int16)
    return float((pixels_HWC.max(axis=2) - pixels_HWC.min(axis=2)).mean()) < GREY


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
