"""What is in a person's folder of images: classes, counts, sizes, colour. Headers of a sample are read, few pixels."""

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

HEADERS = 400  # pictures whose size is read
DECODED = 40  # and so many are decoded, to see whether they are grey
GREY = 2.0  # levels of 255 that a grey picture's channels may differ by: JPEG stores them apart
LEAST = 20  # pictures per class below which a split into three says little


@dataclass(frozen=True)
class Found:
    """A folder of images. `counts`: pictures per class for training; `side`: median of the shorter sides, in pixels."""

    folder: Path
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    tests: int | None  # pictures in a test folder of its own
    side: int
    sides: tuple[int, int]  # the shortest and the longest that were seen
    channels: int
    broken: tuple[str, ...]  # of those that were looked at
    files: tuple[str, ...] = field(repr=False)  # for training
    labels_N: Labels = field(repr=False, compare=False)

    @property
    def pictures(self) -> int:
        return sum(self.counts)

    def __str__(self) -> str:
        least, most = self.sides
        sizes = f"{self.side} pixels" if least == most else f"{self.side} pixels in the middle ({least} to {most})"
        tests = "" if self.tests is None else f" and {self.tests:,} for testing"
        colour = "grey" if self.channels == 1 else "colour"
        return f"{self.pictures:,} pictures of {len(self.classes)} classes{tests}, {colour}, shorter side {sizes}"

    @property
    def warnings(self) -> list[str]:
        """What a person should know before hours are spent."""
        told = []
        few = [f"{name} ({count})" for name, count in zip(self.classes, self.counts, strict=True) if count < LEAST]
        if few:
            told.append(f"few pictures to learn from, fewer than {LEAST}: {_some(few)}")
        if max(self.counts) > 10 * min(self.counts):
            told.append(
                f"classes are uneven ({min(self.counts):,} to {max(self.counts):,} pictures); accuracy counts "
                "pictures, so the largest classes decide"
            )
        if self.broken:
            told.append(f"cannot be read as pictures, remove or replace them: {_some(self.broken)}")
        return told


def look(folder: Path) -> Found:
    """Raises SweepError where `folder` has no folder per class, or nothing in it can be read."""
    data = DataSection(name="image_folder", path=folder)
    root, test_root = find_roots(data)
    classes = find_classes(root)
    files, labels, _ = list_images(root, classes)
    counts = np.bincount(labels, minlength=len(classes)).tolist()
    if not files:
        raise SweepError(f"data.path: {root} must hold pictures in its folders {_some(classes)}, but holds none")
    tests = None if test_root is None else len(list_images(test_root, classes)[0])
    sides: list[int] = []
    grey: list[bool] = []
    broken: list[str] = []
    sample = random.Random(0).sample(files, min(HEADERS, len(files)))
    for number, file in enumerate(sample):
        try:
            with Image.open(file) as image:
                sides.append(min(image.size))
                if number < DECODED:
                    grey.append(_is_grey(image))
        except Exception as error:  # Pillow's plugins raise anything at a broken file
            broken.append(f"{file} ({error or type(error).__name__})")
    if not grey:
        raise SweepError(f"data.path: none of the pictures in {root} that were looked at can be read: {_some(broken)}")
    return Found(
        folder=folder,
        classes=classes,
        counts=tuple(counts),
        tests=tests,
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
