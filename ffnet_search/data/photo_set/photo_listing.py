"""The photos of a folder, split by split, by their files: nothing is opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ffnet_search.config.schema import DataSection
from ffnet_search.data.layout import TEST, TRAIN, VALIDATION, by_name, data_root, find_images, split_folders, subfolders
from ffnet_search.errors import SweepError
from ffnet_search.formatting import first_few

HIGH, LOW = "hr", "lr"  # names of the folders of pairs, in any case
IMAGES, MASKS = "images", "masks"  # of data for segmentation, whose images are photos too


class PhotoFile(NamedTuple):
    """A photo, the file of its reduced form (None if that is computed), and the name that splits depend on."""

    high: str
    low: str | None
    name: str


class Folders(NamedTuple):
    """The photos of a split, and those that are reduced already. `has_masks`: masks, which are left out, are beside."""

    high: Path
    low: Path | None
    has_masks: bool = False

    @property
    def remarks(self) -> tuple[str, ...]:
        """A sentence for the user on what is left out."""
        return (f"the photos of {self.high} are used; the masks beside it are no photos",) if self.has_masks else ()


def find_splits(section: DataSection) -> Mapping[str, Folders]:
    """The folders of each split that exists, of training at least: all photos, where there are no others.

    Raises SweepError if there is no such folder."""
    root = data_root(section, "your photos")
    whole = _folders(root)
    if whole.low is not None:  # HR/train and LR/train
        named, low = split_folders(whole.high), split_folders(whole.low)
        found = {split: Folders(folder, low.get(split, whole.low / folder.name)) for split, folder in named.items()}
    elif whole.has_masks:  # images/train and masks/train
        found = {split: Folders(folder, None, True) for split, folder in split_folders(whole.high).items()}
    else:
        found = {split: _folders(folder) for split, folder in split_folders(root).items()}
    if TRAIN not in found:
        return {TRAIN: whole}
    return {split: found[split] for split in (TRAIN, VALIDATION, TEST) if split in found}


def _folders(root: Path) -> Folders:
    """HR/ and LR/ in a folder, the images/ beside masks/ (which are no photos), or all of it."""
    named = {name.lower(): root / name for name in subfolders(root)}
    if HIGH in named and LOW in named:
        return Folders(named[HIGH], named[LOW])
    return Folders(named[IMAGES], None, True) if IMAGES in named and MASKS in named else Folders(root, None)


def list_photos(folders: Folders, scale: int) -> list[PhotoFile]:
    """The photos of a split, ordered by name. Raises SweepError if there is none, or one of a pair is missing or there
    twice."""
    found_high = find_images(folders.high)
    high = found_high.images
    if not high:
        raise SweepError(f"data.path: {folders.high} must hold photos that Pillow opens, but holds none")
    if folders.low is None:
        return [PhotoFile(f"{folders.high}/{name}", None, name) for name in high]
    if not folders.low.is_dir():
        raise SweepError(f"data.path: {folders.low} must hold the reduced photos, but there is no such folder")
    by_name(found_high)  # of two with one name, one would be paired with the reduced form of the other
    low = {name: str(path) for name, path in by_name(find_images(folders.low)).items()}
    files, missing = [], []
    for name in high:
        stem = str(Path(name).with_suffix(""))
        found = low.pop(stem, None) or low.pop(f"{stem}x{scale}", None)
        if found is None:
            missing.append(f"{folders.high}/{name}")
        files.append(PhotoFile(f"{folders.high}/{name}", found, name))
    if missing or low:
        here = f"none for {first_few(missing)}" if missing else f"also {first_few(sorted(low.values()))}"
        raise SweepError(
            f"data.path: {folders.low} must hold the reduced form of each photo in {folders.high}, of the same name or "
            f"with x{scale} behind it, but has {here}"
        )
    return files
