"""Images with masks: images/NAME and masks/NAME.png, in DIR, in DIR/train, DIR/val and DIR/test, or the other way
round, images/train and masks/train. Without a folder for testing, a fifth becomes the test split.

A mask is grey or has a palette; its values are class ids from 0 on, and 255 where a pixel counts nowhere. Images of
every size and shape are resized to the resolution of the search space, whole: bicubic, their masks by repetition.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ffnet_search.config.schema import DataSection
from ffnet_search.data.dataset import DataSet, OnDemand, Source, must_match
from ffnet_search.data.files import Files, files_digest, files_on_demand, open_files
from ffnet_search.data.image_file import open_image
from ffnet_search.data.image_folder import must_have_colours
from ffnet_search.data.layout import (
    TEST,
    TRAIN,
    VALIDATION,
    by_name,
    class_names,
    find_images,
    given_path,
    split_folders,
)
from ffnet_search.data.masks import map_masks, must_hold_classes, pixels_of, read_masks
from ffnet_search.data.unreadable import Unreadable, attempt, must_be_left, say_left_out
from ffnet_search.errors import SweepError
from ffnet_search.formatting import first_few
from ffnet_search.progress import say
from ffnet_search.space.input import Input

IMAGES, MASKS = "images", "masks"
LOSSY = (".jpg", ".jpeg", ".webp")
CHECKED_MASKS = 50  # masks of a split, about, that a check reads


class Folders(NamedTuple):
    """The images of a split and their masks."""

    images: Path
    masks: Path


@dataclass(frozen=True)
class MaskedFiles:
    """Files of images and of their masks, in one order, and their names without extension."""

    images: tuple[str, ...]
    masks: tuple[str, ...]
    names: tuple[str, ...]

    def digest(self) -> str:
        """The sha256 of names and sizes."""
        return files_digest((*self.names, *self.names), (*self.images, *self.masks))


class MaskFolder(DataSet):
    """`data.name: mask_folder`. Masks are held in memory, a byte a pixel; images as by `image_folder`."""

    tasks = ("segmentation",)
    options = ("path",)

    def read(self, section: DataSection, input: Input) -> Source:
        root, splits = find_splits(section)
        pairs = list_splits(splits)
        digests = " ".join(f"{split} {one.digest()}" for split, one in pairs.items())
        digest = hashlib.sha256(digests.encode()).hexdigest()
        if section.unreadable == "skip":
            pairs = {split: _readable(one, section.workers) for split, one in pairs.items()}
            for split, one in pairs.items():
                must_be_left(len(one.names), split)
        names = class_names(root, input.outputs)
        source = open_files(_with_masks(pairs, section, input), names, section, input, digest)
        if missing := must_hold_classes(np.unique(source.train.targets_N).tolist(), names, splits[TRAIN].masks):
            say(f"warning: no mask for training holds {first_few(missing)}")
        return source

    def check(self, section: DataSection, input: Input) -> None:
        must_have_colours(section, input)
        root, splits = find_splits(section)
        names = class_names(root, input.outputs)
        must_match(section, input, outputs=len(names))
        for split, folders in splits.items():
            pairs = list_pairs(folders)
            step = max(1, len(pairs.names) // CHECKED_MASKS)
            some = MaskedFiles(pairs.images[::step], pairs.masks[::step], pairs.names[::step])
            some = _readable(some, section.workers) if section.unreadable == "skip" else some
            held = map_masks(pixels_of, some.masks, some.images, input.outputs, section.workers)
            if split == TRAIN:
                must_hold_classes({one for ids in held for one in ids}, names, folders.masks, pairs.masks)

    def on_demand(self, section: DataSection, input: Input) -> OnDemand | None:
        return files_on_demand(self.parts(section, input), section, input)

    def output_names(self, section: DataSection, input: Input) -> tuple[str, ...]:
        return class_names(find_splits(section)[0], input.outputs)

    def parts(self, section: DataSection, input: Input) -> dict[str, Files]:
        return _with_masks(list_splits(find_splits(section)[1]), section, input)

    def contents(self, section: DataSection, input: Input) -> dict[str, dict[str, str]]:
        pairs = list_splits(find_splits(section)[1])
        return {split: {"masks": f"{len(one.names)} files, {one.digest()[:8]}"} for split, one in pairs.items()}

    def remarks(self, section: DataSection, input: Input) -> list[str]:
        _, splits = find_splits(section)
        if VALIDATION not in splits:
            return []
        return [f"networks are compared on {splits[VALIDATION].images}, and data.validation counts for nothing"]


def _with_masks(pairs: Mapping[str, MaskedFiles], section: DataSection, input: Input) -> dict[str, Files]:
    return {
        split: Files(one.images, one.names, read_masks(one.masks, one.images, input, section.workers))
        for split, one in pairs.items()
    }


def find_splits(section: DataSection) -> tuple[Path, dict[str, Folders]]:
    """The root, and the folders of each split that exists, train first. Raises SweepError if there are none."""
    root = given_path(section, f"the folder with {IMAGES}/ and {MASKS}/")
    whole = Folders(root / IMAGES, root / MASKS)
    inside = {split: Folders(place / IMAGES, place / MASKS) for split, place in split_folders(root).items()}
    images, masks = map(split_folders, whole)
    across = {split: Folders(images[split], masks[split]) for split in images if split in masks}
    for all in (inside, across):
        found = {split: all[split] for split in (TRAIN, VALIDATION, TEST) if split in all and _exist(all[split])}
        if TRAIN in found:
            return root, found
    if not _exist(whole):
        problem = "holds no such folders" if os.path.isdir(root) else "there is no such folder"
        raise SweepError(
            f"data.path: {root} must hold {IMAGES}/ and {MASKS}/, or train/{IMAGES}/ and train/{MASKS}/, but {problem}"
        )
    return root, {TRAIN: whole}


def _exist(folders: Folders) -> bool:
    return os.path.isdir(folders.images) and os.path.isdir(folders.masks)


def has_masks(root: Path) -> bool:
    """Return whether a folder is laid out as this data set is."""
    return (root / MASKS).is_dir() or any((place / MASKS).is_dir() for place in split_folders(root).values())


def list_splits(splits: Mapping[str, Folders]) -> dict[str, MaskedFiles]:
    """`list_pairs` of each split."""
    return {split: list_pairs(folders) for split, folders in splits.items()}


def list_pairs(folders: Folders) -> MaskedFiles:
    """The images of a split with their masks: of the same name but for the extension. Raises SweepError if one of
    them is missing, or several have one name."""
    images, masks = (by_name(find_images(folder)) for folder in folders)
    for here, there, what in ((images, masks, "a mask"), (masks, images, "an image")):
        lonely = sorted(here.keys() - there.keys())
        if lonely:
            folder = folders.masks if there is masks else folders.images
            raise SweepError(
                f"data.path: {folder} must hold {what} for each file beside it, of the same name but for the "
                f"extension, but has none for {first_few([str(here[name]) for name in lonely])}"
            )
    if not images:
        raise SweepError(f"data.path: {folders.images} must hold images that Pillow opens, but holds none")
    lossy = [str(path) for path in masks.values() if path.suffix.lower() in LOSSY]
    if lossy:
        raise SweepError(
            f"data.path: masks must be PNG files, since compression changes class ids, but there are {first_few(lossy)}"
        )
    names = tuple(sorted(images))
    return MaskedFiles(tuple(str(images[n]) for n in names), tuple(str(masks[n]) for n in names), names)


def _readable(pairs: MaskedFiles, workers: int) -> MaskedFiles:
    """The pairs of which both files can be decoded; those that are left out are named."""

    def problem(pair: tuple[str, str]) -> str:
        read = (attempt(file, load, file) for file in pair)
        return next((str(one) for one in read if isinstance(one, Unreadable)), "")

    def load(file: str) -> None:
        with open_image(file) as opened:
            opened.load()

    with ThreadPoolExecutor(max(1, workers)) as pool:
        problems = list(pool.map(problem, zip(pairs.images, pairs.masks, strict=True)))
    broken = [one for one in problems if one]
    say_left_out(broken)
    kept = [index for index, one in enumerate(problems) if not one]
    images, masks, names = (tuple(all[index] for index in kept) for all in (pairs.images, pairs.masks, pairs.names))
    return MaskedFiles(images, masks, names)
