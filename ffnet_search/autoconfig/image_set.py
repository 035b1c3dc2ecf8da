"""A user's images as `init` inspected them: classes, counts, sizes and colour. Reads a sample's headers, few pixels."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from ffnet_search.data.dataset import Strata
from ffnet_search.data.decoder import Decoder
from ffnet_search.data.files import Files, divide
from ffnet_search.data.image_file import read_whole, turned_size
from ffnet_search.data.layout import TEST, TRAIN, VALIDATION
from ffnet_search.data.unreadable import Unreadable, attempt
from ffnet_search.errors import SweepError
from ffnet_search.formatting import first_few, listed
from ffnet_search.space.input import Input
from ffnet_search.tasks.base import Targets, find_task

HEADERS = 400  # images whose size is read
DECODED = 40  # images that are decoded, to see whether they are grey
GREY = 2.0  # levels of 255 that a grey image's channels may differ by: JPEG stores them apart
SHAPE_TOLERANCE = 1.15  # times, that two shapes of images may differ by to count as one
ALIKE = 0.8  # of the images, that have one shape
MAX_RATIO = 4.0  # of a network's image: longer ones are cut
MIN_IMAGES = 20  # images per class below which a split into three says little
UNEVEN = 3  # times the images of the smallest class: weights of classes are proposed
RARE = 10  # times them: they are set


@dataclass(frozen=True)
class Sample:
    """Sizes in pixels and colour of some of the images."""

    side: int  # median of the shorter sides
    sides: tuple[int, int]  # the shortest and the longest of them
    channels: int
    broken: tuple[str, ...] = ()  # files that cannot be read
    ratio: float = 1.0  # width / height, where most have about the same; 1 for squares and mixtures

    @property
    def warnings(self) -> list[str]:
        return [f"cannot be read as images, remove or replace them: {first_few(self.broken)}"] if self.broken else []

    def __str__(self) -> str:
        least, most = self.sides
        sizes = f"{self.side} pixels" if least == most else f"{self.side} pixels in the middle ({least} to {most})"
        return f"{'grey' if self.channels == 1 else 'colour'}, shorter side {sizes}"


@dataclass(frozen=True)
class ImageSet:
    """A folder of images, one folder per class, as inspected. `parts`: the files of each split that it has."""

    task = "classification"
    dataset = "image_folder"
    layout = "one folder per class"
    items: ClassVar[int] = 1  # that a network learns from, of each image in an epoch
    is_whole = False  # images are resized as they are, and not cut to their centre

    folder: Path
    classes: tuple[str, ...]
    counts: tuple[int, ...]  # training images per class
    sample: Sample
    parts: Mapping[str, Files] = field(repr=False, compare=False)
    remarks: tuple[str, ...] = ()  # on what is left out

    @property
    def files(self) -> tuple[str, ...]:
        """The files for training."""
        return self.parts[TRAIN].paths

    @property
    def total(self) -> int:
        """The number of training images, with those that a run holds out of them."""
        return len(self.files)

    @property
    def tests(self) -> int | None:
        """The images in a folder for testing, if there is one."""
        return len(self.parts[TEST].paths) if TEST in self.parts else None

    @property
    def validations(self) -> int | None:
        """The images in a folder for search validation, if there is one."""
        return len(self.parts[VALIDATION].paths) if VALIDATION in self.parts else None

    @property
    def strata_N(self) -> Strata:
        """The stratum of each training image, by which it is sampled; 0 where targets are masks or photos."""
        return find_task(self.task).strata(self.parts[TRAIN].targets_N)

    def sizes(self, validation: float, seed: int) -> tuple[int, int]:
        """The images that a run trains on, and those that it compares networks on."""
        splits = divide(self.parts, find_task(self.task), validation, seed)
        return len(splits[TRAIN].paths), len(splits[VALIDATION].paths)

    def __str__(self) -> str:
        return self.described(f"of {len(self.classes)} classes")

    @property
    def _others(self) -> str:
        """The number of images for validation and test, in words."""
        words = ("comparing networks", self.validations), ("testing", self.tests)
        given = [f"{count:,} for {word}" for word, count in words if count is not None]
        return (", " if len(given) > 1 else " and ") + listed(given) if given else ""

    def targets(self, indices: Sequence[int], input: Input) -> Targets:
        """The targets of some of the files."""
        return self.parts[TRAIN].targets_N[list(indices)]

    def decoder(self, input: Input, workers: int) -> Decoder:
        """The decoder of the files, as a run has it."""
        mode = "L" if self.sample.channels == 1 else "RGB"
        return Decoder(self.files, input.size, mode, workers, whole=self.is_whole)

    def described(self, targets: str) -> str:
        """The images in words: their number, what is known of each, colour and size."""
        return f"{self.total:,} images {targets}{self._others}, {self.sample}"

    @property
    def is_uneven(self) -> bool:
        """True if the largest class has several times the images, or many times the pixels, of the smallest."""
        return self.task == "classification" and max(self.counts) > UNEVEN * min(self.counts)

    @property
    def has_rare(self) -> bool:
        """True if classes are so uneven that training weighs them."""
        return self.is_uneven and max(self.counts) > RARE * min(self.counts)

    @property
    def rare(self) -> str:
        """The classes, or labels, of fewer than `MIN_IMAGES` images; empty if there are none."""
        return first_few([f"{name} ({n})" for name, n in zip(self.classes, self.counts, strict=True) if n < MIN_IMAGES])

    @property
    def warnings(self) -> list[str]:
        """Remarks for the user, before hours are spent."""
        warnings = list(self.remarks)
        if self.rare:
            warnings.append(f"few images to learn from, fewer than {MIN_IMAGES}: {self.rare}")
        return warnings + self.uneven_warnings + self.sample.warnings

    @property
    def uneven_warnings(self) -> list[str]:
        """A remark on uneven classes and what follows from them; empty if they are even."""
        if not self.is_uneven:
            return []
        counts = f"classes are uneven ({min(self.counts):,} to {max(self.counts):,} images)"
        weighed = "training weighs them (train.class_weights), while accuracy counts images"
        if not self.has_rare:
            weighed = "accuracy counts images; train.class_weights lets a rare class count more"
        return [f"{counts}: {weighed}; search.objectives may name balanced_accuracy, f1_macro or recall@CLASS instead"]


def sample_images(root: Path, files: Sequence[str]) -> Sample:
    """Read the sizes of some images, and of a few whether they are grey. Raises SweepError if none can be read."""
    sizes: list[tuple[int, int]] = []
    grey: list[bool] = []
    broken: list[str] = []
    for file in random.Random(0).sample(files, min(HEADERS, len(files))):
        read = attempt(file, _size_and_grey, file, decode=len(grey) < DECODED)
        if isinstance(read, Unreadable):
            broken.append(str(read))
        else:
            sizes.append(read[0])
            grey += read[1]
    if not grey:
        raise SweepError(f"data.path: none of the sampled images in {root} can be read: {first_few(broken)}")
    sides = [min(size) for size in sizes]
    middle = int(statistics.median_low(sides))
    return Sample(middle, (min(sides), max(sides)), 1 if all(grey) else 3, tuple(broken), common_ratio(sizes))


def common_ratio(sizes: Sequence[tuple[int, int]]) -> float:
    """The width by the height that `ALIKE` of the images have within `SHAPE_TOLERANCE`; 1 if there is none, or
    nearly."""
    ratios = [width / height for width, height in sizes]
    middle = statistics.median_low(ratios)
    near = sum(abs(math.log(ratio / middle)) <= math.log(SHAPE_TOLERANCE) for ratio in ratios)
    is_shape = abs(math.log(middle)) > math.log(SHAPE_TOLERANCE) and near >= ALIKE * len(ratios)
    return min(MAX_RATIO, max(1 / MAX_RATIO, middle)) if is_shape else 1.0


def _size_and_grey(file: str, *, decode: bool) -> tuple[tuple[int, int], list[bool]]:
    """Width and height of an image, turned as its EXIF says, and, where it is decoded, whether it is grey."""
    return turned_size(file), [_is_grey(file)] if decode else []


def _is_grey(file: str) -> bool:
    pixels_HWC = np.asarray(read_whole(file, "RGB", (64, 64)).resize((16, 16))).astype(np.int16)
    return float((pixels_HWC.max(axis=2) - pixels_HWC.min(axis=2)).mean()) < GREY
