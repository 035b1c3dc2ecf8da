"""Photos without classes, of any sizes, for super-resolution: DIR, or DIR/train with DIR/test and DIR/val.

Networks are given a photo reduced by `scale` (bicubic, antialiased, as by MATLAB's imresize), or the file of the same
name in LR/ beside HR/. Without a test folder a fifth is held out for testing. Shape keys: h and w pixels of a reduced
photo, H and W of the photo itself.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ffnet_search.config.schema import DataSection
from ffnet_search.data.dataset import TEST_SHARE, DataSet, Indices, OnDemand, Pixels, split_by_name
from ffnet_search.data.files import MIB, Files, files_digest, summary
from ffnet_search.data.image_file import open_image, read_whole
from ffnet_search.data.layout import TEST, TRAIN, VALIDATION, image_bytes
from ffnet_search.data.photo_set.photo_listing import PhotoFile, find_splits, list_photos
from ffnet_search.data.unreadable import Unreadable, attempt, must_be_left, refuse_unreadable, say_left_out
from ffnet_search.errors import SweepError
from ffnet_search.formatting import first_few
from ffnet_search.space.input import Input

HEADERS = 50  # photos whose header a check reads
MIN_PHOTOS = 3  # photos: one each to learn from, to compare networks on and to test


class Pair(NamedTuple):
    """A reduced photo, which a network is given, uint8 (h, w, C), and the photo, uint8 (scale h, scale w, C)."""

    low_hwC: Pixels
    high_HWC: Pixels


@dataclass(frozen=True)
class PhotoReader:
    """Reads photos, which `pairs` keeps where they fit into memory."""

    files: tuple[PhotoFile, ...]
    scale: int
    mode: str  # Pillow's: "L" or "RGB"
    workers: int
    kept: dict[int, Pair] = field(default_factory=dict, repr=False)

    def pair(self, index: int) -> Pair | Unreadable:
        """One photo, or why its file cannot be read."""
        if index in self.kept:
            return self.kept[index]
        return attempt(self.files[index].high, self._pair, self.files[index])

    def _pair(self, file: PhotoFile) -> Pair | Unreadable:
        photo = read_whole(file.high, self.mode)
        width, height = (side // self.scale for side in photo.size)
        if not (width and height):
            return Unreadable(file.high, f"{photo.width} x {photo.height} pixels")
        photo = photo.crop((0, 0, width * self.scale, height * self.scale))
        if file.low is None:
            reduced = photo.resize((width, height), Image.Resampling.BICUBIC)
        else:
            reduced = read_whole(file.low, self.mode)
            if reduced.size != (width, height):
                size = f"{reduced.width} x {reduced.height} pixels, not {width} x {height}"
                return Unreadable(file.low, size)
        low, high = (np.asarray(one).reshape(one.height, one.width, -1) for one in (reduced, photo))
        return Pair(low, high)

    def pairs(self, indices: Sequence[int]) -> list[Pair]:
        """Several photos, by threads. Raises SweepError with the names of all unreadable files."""
        found = self.found(indices)
        refuse_unreadable([one for one in found if isinstance(one, Unreadable)])
        return [one for one in found if not isinstance(one, Unreadable)]

    def found(self, indices: Sequence[int]) -> list[Pair | Unreadable]:
        """Several photos, or the reasons why they cannot be read."""
        if all(index in self.kept for index in indices):
            return [self.kept[index] for index in indices]
        with ThreadPoolExecutor(max(1, self.workers)) as pool:
            return list(pool.map(self.pair, indices))


@dataclass(frozen=True)
class Photos:
    """The photos of a folder by index. `validation` is drawn from `train` later, unless a folder has them; `names`: of
    all photos."""

    reader: PhotoReader
    train: Indices
    validation: Indices | None
    test: Indices
    names: tuple[str, ...]
    input: Input
    digest: str


class PhotoFolder(DataSet):
    """`data.name: photo_folder`. Photos of up to `in_memory_mb` are decoded once, others whenever they are read."""

    tasks = ("super_resolution",)
    options = ("path", "patch", "patches")
    module = "ffnet_search.data.photo_set.photo_data:PhotoData"

    def read(self, section: DataSection, input: Input) -> Photos:
        splits = {split: list_photos(folders, input.outputs) for split, folders in find_splits(section).items()}
        files = [file for listed in splits.values() for file in listed]
        reader = PhotoReader(tuple(files), input.outputs, "L" if input.channels == 1 else "RGB", section.workers)
        kept = readable(reader, must_be_large(files, section.patch, input.outputs), section)
        sha = hashlib.sha256(f"scale {input.outputs}".encode())
        members, start = {}, 0
        for split, listed in splits.items():
            sha.update(f"{split} {_digest(listed)}".encode())
            indices = np.arange(start, start + len(listed))
            members[split] = indices[np.isin(indices, kept)]
            start += len(listed)
        names, train = tuple(file.name for file in files), members[TRAIN]
        if TEST not in members:
            of_train = [names[index] for index in train]
            rest, held_out = split_by_name(of_train, np.zeros(len(train), np.int64), TEST_SHARE, "test")
            members |= {TRAIN: train[rest], TEST: train[held_out]}
        for split, indices in members.items():
            must_be_left(len(indices), split)
        return Photos(reader, members[TRAIN], members.get(VALIDATION), members[TEST], names, input, sha.hexdigest())

    def check(self, section: DataSection, input: Input) -> None:
        for name in ("crop", "cutout", "resized_crop", "randaugment", "jitter", "hue", "transforms"):
            if getattr(section.augment, name):
                raise SweepError(
                    f"data.augment.{name} must be left out for {section.name}, which trains on random crops of "
                    "data.patch pixels; use flip and turn"
                )
        if section.sampling != "all":
            raise SweepError(f"data.sampling must be left out for {section.name}, whose photos have no classes")
        files = [file for folders in find_splits(section).values() for file in list_photos(folders, input.outputs)]
        refuse_few(section.path, len(files))
        must_be_large(files[:: max(1, len(files) // HEADERS)], section.patch, input.outputs)

    def late(self, section: DataSection, input: Input) -> list[Unreadable]:
        reader = self.read(section, input).reader
        pairs = (reader.pair(index) for index in range(len(reader.files)))
        return [one for one in pairs if isinstance(one, Unreadable)]

    def on_demand(self, section: DataSection, input: Input) -> OnDemand | None:
        if section.unreadable == "skip":
            return None
        reader = self.read(section.model_copy(update={"in_memory_mb": 0}), input).reader
        sizes = must_be_large(reader.files, section.patch, input.outputs)
        if _fit(sizes, input.channels, input.outputs, section):
            return None
        return OnDemand(len(reader.files), reader.found)

    def parts(self, section: DataSection, input: Input) -> dict[str, Files]:
        found = find_splits(section)
        return photo_parts({split: list_photos(folders, input.outputs) for split, folders in found.items()})

    def remarks(self, section: DataSection, input: Input) -> list[str]:
        return [remark for folders in find_splits(section).values() for remark in folders.remarks]

    def contents(self, section: DataSection, input: Input) -> dict[str, dict[str, str]]:
        return {
            split: {"photos": summary(files.names, files.paths)} for split, files in self.parts(section, input).items()
        }


def photo_parts(splits: Mapping[str, Sequence[PhotoFile]]) -> dict[str, Files]:
    """The files of each split; photos have no classes."""
    parts = {}
    for split, files in splits.items():
        paths, names = tuple(file.high for file in files), tuple(file.name for file in files)
        parts[split] = Files(paths, names, np.zeros(len(files), np.int64))
    return parts


def readable(reader: PhotoReader, sizes: Sequence[tuple[int, int]], section: DataSection) -> list[int]:
    """The indices of the readable photos, decoded where memory holds them.

    Raises SweepError if there are others, unless the section skips them."""
    everything, skips = range(len(reader.files)), section.unreadable == "skip"
    fits = _fit(sizes, len(reader.mode), reader.scale, section)
    if not (fits or skips):
        return list(everything)
    broken = []
    for index in everything:
        pair = reader.pair(index)
        if isinstance(pair, Unreadable):
            broken.append(pair)
        elif fits:
            reader.kept[index] = pair
    if not skips:
        refuse_unreadable(broken)
    else:
        say_left_out(broken)
    unreadable = {one.file for one in broken}
    return [index for index in everything if not unreadable & {reader.files[index].high, reader.files[index].low}]


def _fit(sizes: Sequence[tuple[int, int]], channels: int, scale: int, section: DataSection) -> bool:
    return sum(map(math.prod, sizes)) * channels * (1 + scale**-2) <= section.in_memory_mb * MIB


def refuse_few(folder: Path | None, photos: int) -> None:
    """Raise SweepError for a folder of too few photos to be learnt from."""
    if photos < MIN_PHOTOS:
        raise SweepError(
            f"data.path: {folder} must hold {MIN_PHOTOS} photos at least, to learn from, to compare networks on and to "
            f"test, but holds {photos}"
        )


def must_be_large(files: Sequence[PhotoFile], patch: int, scale: int) -> list[tuple[int, int]]:
    """The sizes of photos, (width, height), unreadable ones aside. Raises SweepError if one holds no patch."""
    sizes, small = [], []
    for file in files:
        image_bytes(Path(file.high))
        size = attempt(file.high, stored_size, file.high)
        if isinstance(size, Unreadable):  # which reading tells
            continue
        sizes.append(size)
        if min(size) < patch * scale:
            small.append(f"{file.high} ({size[0]} x {size[1]})")
    if small:
        raise SweepError(
            f"data.path: photos must have {patch * scale} pixels a side at least (data.patch {patch}, at scale "
            f"{scale}), but there are {first_few(small)}; lower data.patch or remove them"
        )
    return sizes


def stored_size(file: str) -> tuple[int, int]:
    """Width and height of a photo, by its header."""
    with open_image(file) as image:
        return image.size


def _digest(files: Iterable[PhotoFile]) -> str:
    """A sha256 of names and sizes: cheap, and the same on every machine."""
    listed = [(file.name, path) for file in files for path in (file.high, file.low) if path is not None]
    return files_digest(*zip(*listed, strict=True))
