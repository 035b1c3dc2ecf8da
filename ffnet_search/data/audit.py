"""An audit of every image of a data set: unreadable files, and images that occur more than once.

Images are the same where their pixels are, after EXIF turns and in RGB: copies under other names and formats are found
where nothing was lost, scaled or compressed ones are not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import ImageOps

from ffnet_search.config.schema import DataSection
from ffnet_search.data.files import Files, divide
from ffnet_search.data.image_file import open_image, tiles
from ffnet_search.data.registry import data_parts
from ffnet_search.data.unreadable import Unreadable, attempt
from ffnet_search.formatting import first_few, plural
from ffnet_search.progress import progress
from ffnet_search.space.input import Input
from ffnet_search.tasks.base import task_of


@dataclass(frozen=True)
class Audit:
    """The findings. `across_splits`, `across_classes`: groups of files that hold the same image, `SPLIT: FILE`;
    `repeated`: images that occur more than once in one class of one split."""

    images: int
    unreadable: tuple[Unreadable, ...] = ()
    across_splits: tuple[tuple[str, ...], ...] = ()
    across_classes: tuple[tuple[str, ...], ...] = ()
    repeated: int = 0

    @property
    def lines(self) -> Iterator[str]:
        """Sentences for the user."""
        yield f"{plural(self.images, 'image')} looked at, {len(self.unreadable):,} cannot be read"
        if self.unreadable:
            yield f"cannot be read: {first_few(list(map(str, self.unreadable)))}"
        if self.across_splits:
            groups = [" = ".join(group) for group in self.across_splits]
            yield f"{_images_are(len(groups))} in several splits, so results on them mean less: {first_few(groups)}"
        if self.across_classes:
            groups = [" = ".join(group) for group in self.across_classes]
            yield f"{_images_are(len(groups))} in several classes: {first_few(groups)}"
        if self.repeated:
            yield f"{_images_are(self.repeated)} in one class more than once"


def _images_are(count: int) -> str:
    return f"{plural(count, 'image')} {'is' if count == 1 else 'are'}"


def audit_data(section: DataSection, seed: int, input: Input) -> Audit:
    """Look at every image of a data set on disk; of data without files nothing. Raises SweepError as `read` does."""
    parts = data_parts(section, input)
    if not parts:
        return Audit(0)
    placed = list(_placed(parts, section, seed, input))
    with ThreadPoolExecutor(max(1, section.workers)) as pool, progress("look at images", len(placed), "files") as bar:
        groups: dict[str, list[tuple[str, str, str]]] = {}
        unreadable: list[Unreadable] = []
        for one, found in zip(placed, pool.map(lambda one: attempt(one[-1], _digest, one[-1]), placed), strict=True):
            bar.advance()
            if isinstance(found, Unreadable):
                unreadable.append(found)
            else:
                groups.setdefault(found, []).append(one)
    return _judge(len(placed), unreadable, [group for group in groups.values() if len(group) > 1])


def _judge(images: int, unreadable: Sequence[Unreadable], groups: Sequence[Sequence[tuple[str, str, str]]]) -> Audit:
    splits, classes, repeated = [], [], 0
    for group in groups:
        named = tuple(f"{split}: {path}" for split, _, path in group)
        if len({split for split, _, _ in group}) > 1:
            splits.append(named)
        if len({target for _, target, _ in group}) > 1:
            classes.append(named)
        if len({(split, target) for split, target, _ in group}) == 1:
            repeated += 1
    return Audit(images, tuple(unreadable), tuple(splits), tuple(classes), repeated)


def _placed(parts: dict[str, Files], section: DataSection, seed: int, input: Input) -> Iterator[tuple[str, str, str]]:
    """Split, digest of the target and path of each file, as the sweep splits them."""
    for split, files in divide(parts, task_of(input), section.validation, seed).items():
        for path, target in zip(files.paths, files.targets_N, strict=True):
            yield split, hashlib.sha256(np.ascontiguousarray(target).tobytes()).hexdigest(), path


def _digest(path: str) -> str:
    """A digest of the pixels of an image."""
    with open_image(path) as image:
        ImageOps.exif_transpose(image, in_place=True)
        digest = hashlib.sha256(f"{image.size}".encode())
        for _, _, tile in tiles(image, "RGB"):
            digest.update(tile.tobytes())
    return digest.hexdigest()
