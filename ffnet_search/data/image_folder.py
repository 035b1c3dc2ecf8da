"""One folder per class: DIR/train, DIR/val (or valid) and DIR/test, as many as there are, or one tree.

Any image that Pillow opens, as `image_file` prepares it. Without a folder for testing a fifth becomes the test split.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ffnet_search.config.schema import DataSection
from ffnet_search.data.dataset import DataSet, OnDemand, Source, must_match
from ffnet_search.data.files import Files, files_digest, files_on_demand, open_files, summary
from ffnet_search.data.layout import (
    VALIDATION,
    Layout,
    counted,
    find_classes,
    find_images,
    find_layout,
    image_bytes,
    subfolders,
)
from ffnet_search.errors import SweepError
from ffnet_search.space.input import Input

Labels = NDArray[np.int64]


class ImageFolder(DataSet):
    """`data.name: image_folder`. Sets of up to `in_memory_mb` are decoded once, larger ones batch by batch."""

    tasks = ("classification",)
    options = ("path", "augment.resized_crop")

    def read(self, section: DataSection, input: Input) -> Source:
        parts = self.parts(section, input)
        classes = find_classes(find_layout(section).train)
        digests = [f"{split} {files_digest(files.names, files.paths)}" for split, files in parts.items()]
        return open_files(parts, classes, section, input, hashlib.sha256(" ".join(digests).encode()).hexdigest())

    def check(self, section: DataSection, input: Input) -> None:
        must_have_colours(section, input)
        layout = find_layout(section)
        classes = find_classes(layout.train)
        must_match(section, input, outputs=len(classes))
        for folder in layout.splits.values():
            extra = sorted(set(subfolders(folder)) - set(classes))
            if extra:
                raise SweepError(
                    f"data.path: {folder} must have the classes of {layout.train}, but also has {', '.join(extra)}"
                )
            found = [find_images(folder / name) for name in classes]
            empty = [name for name, files in zip(classes, found, strict=True) if not files.images]
            if empty:
                raise SweepError(
                    f"data.path: every class folder of {folder} must hold images that Pillow opens, but "
                    f"{', '.join(empty)} {'has' if len(empty) == 1 else 'have'} none; fill or remove them"
                )
            for file in (file for files in found for file in files.paths):
                if file.is_symlink():  # the others are looked at when they are read: there may be millions
                    image_bytes(file)

    def on_demand(self, section: DataSection, input: Input) -> OnDemand | None:
        return files_on_demand(self.parts(section, input), section, input)

    def output_names(self, section: DataSection, input: Input) -> tuple[str, ...]:
        return find_classes(find_layout(section).train)

    def parts(self, section: DataSection, input: Input) -> dict[str, Files]:
        layout = find_layout(section)
        classes = find_classes(layout.train)
        return {split: list_images(folder, classes) for split, folder in layout.splits.items()}

    def contents(self, section: DataSection, input: Input) -> dict[str, dict[str, str]]:
        return contents_of(find_layout(section))

    def remarks(self, section: DataSection, input: Input) -> list[str]:
        return remarks_of(find_layout(section))


def must_have_colours(section: DataSection, input: Input) -> None:
    """Raise SweepError if a network has an input that is neither grey nor colour."""
    if input.channels not in (1, 3):
        raise SweepError(
            f"data.name: {section.name!r} has images of 1 or 3 channels, but the search space has input.channels "
            f"{input.channels}; set input.channels: 3 in the search space's file"
        )


def list_images(root: Path, classes: tuple[str, ...]) -> Files:
    """The images of some classes, class after class, in the order of their names, with int64 labels."""
    paths: list[str] = []
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        for image in find_images(root / name).images:
            paths.append(f"{root}/{name}/{image}")
            names.append(f"{name}/{image}")
            labels.append(label)
    return Files(tuple(paths), tuple(names), np.array(labels, dtype=np.int64))


def contents_of(layout: Layout) -> dict[str, dict[str, str]]:
    """Split -> class -> a summary of its files: see `DataSet.contents`."""
    contents: dict[str, dict[str, str]] = {}
    for split, folder in layout.splits.items():
        found = {name: find_images(folder / name) for name in subfolders(folder)}
        contents[split] = {name: summary(files.images, list(map(str, files.paths))) for name, files in found.items()}
    return contents


def remarks_of(layout: Layout) -> list[str]:
    """Sentences on what is left out, and on a folder for validation."""
    remarks = list(layout.left_out)
    if VALIDATION in layout.splits:
        folder = layout.splits[VALIDATION]
        remarks.append(f"networks are compared on the images in {folder.name}/, and data.validation counts for nothing")
    known: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for folder in layout.splits.values():
        for name in subfolders(folder):
            found = find_images(folder / name)
            known.update(os.path.splitext(image)[1].lower() for image in found.images)
            others.update(found.others)
    if len(known) > 1:
        remarks.append(f"images by suffix: {counted(known)}")
    if others:
        remarks.append(f"left out, not of a format that Pillow opens here: {counted(others)}")
    return remarks
