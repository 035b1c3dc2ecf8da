"""Image files decoded to one size: into memory, or when they are read, by threads or by worker processes."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ffnet_search.data.dataset import Indices, Pixels
from ffnet_search.data.image_file import LARGE, Box, centre_box, fitted, prepare, read_whole
from ffnet_search.data.unreadable import Unreadable, attempt, refuse_unreadable
from ffnet_search.files.cores import usable_cores
from ffnet_search.files.semaphores import has_semaphores
from ffnet_search.progress import progress
from ffnet_search.tasks.base import Targets

RATIOS = (3 / 4, 4 / 3)  # of width to height in random resized crops (Szegedy et al. 2015)
ATTEMPTS = 10  # at a random box inside the image
BAR_FROM = 5000  # files; fewer are decoded before a bar could be read


@dataclass(frozen=True)
class Decoder:
    """All files of a data set, read at one size."""

    files: tuple[str, ...]
    size: tuple[int, int]  # width and height, in pixels
    mode: str  # Pillow's: "L" or "RGB"
    workers: int
    resized_crop: float = 0.0  # the least share of an image's area in a random resized crop; 0: no such crops
    key: Sequence[int] | None = None  # of the draws of random resized crops; None: as for evaluation
    whole: bool = False  # the whole image is resized, and not its centred box of that shape

    @property
    def image_bytes(self) -> int:
        """The bytes of one decoded image."""
        return math.prod(self.size) * len(self.mode)

    def decode(self, index: int) -> Pixels | Unreadable:
        """One image, uint8 (H, W, C), or why its file cannot be read."""
        return attempt(self.files[index], self._image, index)

    def _image(self, index: int) -> Pixels:
        if self.key is None:
            return prepare(self.files[index], self.mode, self.size, self.whole)
        # The smallest crop of a large image still has twice the pixels a side that are wanted.
        enough = 2 / math.sqrt(RATIOS[0] * self.resized_crop)
        least = (math.ceil(enough * self.size[0]), math.ceil(enough * self.size[1]))
        image = read_whole(self.files[index], self.mode, least, above=LARGE)
        rng = np.random.default_rng([*self.key, index])
        box = random_box(*image.size, self.resized_crop, rng, self.size[0] / self.size[1])
        return fitted(image, self.size, box)

    __getitem__ = decode  # as the data set of a DataLoader

    def decode_all(self, indices: Sequence[int]) -> Iterator[tuple[int, Pixels | Unreadable]]:
        """Each index with its image, or why that cannot be read; by threads, with a progress bar for many."""
        shown = progress("decode images", len(indices), "files") if len(indices) >= BAR_FROM else nullcontext()
        with ThreadPoolExecutor(max(1, self.workers)) as pool, shown as bar:
            for pair in zip(indices, pool.map(self.decode, indices), strict=True):
                if bar is not None:
                    bar.advance()
                yield pair

    def unreadable(self, indices: Sequence[int]) -> dict[int, Unreadable]:
        """The unreadable files by index. Decodes all, and keeps nothing."""
        return {index: item for index, item in self.decode_all(indices) if isinstance(item, Unreadable)}

    def read(self, indices: Sequence[int]) -> Pixels:
        """Images, uint8 (B, H, W, C), decoded by threads. Raises SweepError with the names of all unreadable files."""
        items = [item for _, item in self.decode_all(indices)]
        refuse_unreadable([item for item in items if isinstance(item, Unreadable)])
        return np.stack([item for item in items if not isinstance(item, Unreadable)])


class OnDisk:
    """Images that are decoded when they are read: `members` of the files of `decoder`."""

    def __init__(self, decoder: Decoder, members: Indices, targets_N: Targets) -> None:
        self.targets_N = targets_N
        self._decoder, self._members = decoder, members

    def read(self, indices: Indices) -> Pixels:
        return self._decoder.read(self._members[indices].tolist())

    def stream(self, batches: Sequence[Indices], key: Sequence[int] | None = None) -> Iterator[Pixels]:
        from torch.utils.data import DataLoader  # a check of the data needs no torch

        decoder = self._decoder
        dataset: Any = replace(decoder, key=key) if decoder.resized_crop else decoder
        lists = [self._members[batch].tolist() for batch in batches]
        largest = max(map(len, lists), default=0) * decoder.image_bytes
        # Each worker prefetches two batches, and waits for ever where they do not fit: a container may have 64 MB.
        workers = min(decoder.workers, usable_cores()) if has_semaphores() else 0
        collate = _as_tensor if _shared_memory() > 2 * (2 * workers + 1) * largest else _stacked
        for pixels in DataLoader(dataset, batch_sampler=lists, num_workers=workers, collate_fn=collate):
            if pixels is None:
                refuse_unreadable(list(decoder.unreadable(range(len(decoder.files))).values()))
            yield np.asarray(pixels)


def _stacked(items: list[Pixels | Unreadable]) -> Pixels | None:
    """The images as one array, passed by a pipe, or None if an image is unreadable."""
    pixels = [item for item in items if not isinstance(item, Unreadable)]
    return np.stack(pixels) if len(pixels) == len(items) else None


def _as_tensor(items: list[Pixels | Unreadable]) -> Any:
    """The images as one tensor, passed by shared memory."""
    import torch

    pixels = _stacked(items)
    return None if pixels is None else torch.from_numpy(pixels)


def _shared_memory() -> float:
    """The free bytes of this machine's shared memory; infinite where it is no folder."""
    try:
        return shutil.disk_usage("/dev/shm").free
    except OSError:
        return math.inf


def random_box(width: int, height: int, least_share: float, rng: np.random.Generator, wanted_ratio: float = 1.0) -> Box:
    """A box of `least_share` to all of the area, of width to height 3:4 to 4:3 times `wanted_ratio`; the largest
    centred box of that ratio if none fits."""
    for _ in range(ATTEMPTS):
        area = width * height * rng.uniform(least_share, 1)
        ratio = wanted_ratio * math.exp(rng.uniform(math.log(RATIOS[0]), math.log(RATIOS[1])))
        box_width, box_height = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if 1 <= box_width <= width and 1 <= box_height <= height:
            left, upper = rng.uniform(0, width - box_width), rng.uniform(0, height - box_height)
            return left, upper, left + box_width, upper + box_height
    return centre_box(width, height, wanted_ratio)
