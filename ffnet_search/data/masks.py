"""Masks of class ids as files: grey or with a palette; 255 where a pixel counts nowhere. Shape keys: H and W pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from ffnet_search.data.dataset import Pixels
from ffnet_search.data.image_file import LARGE, open_image, turned_size
from ffnet_search.data.unreadable import MAX_NAMED_FILES, Unreadable, attempt
from ffnet_search.errors import SweepError
from ffnet_search.formatting import first_few
from ffnet_search.progress import say
from ffnet_search.space.input import Input
from ffnet_search.tasks.segmentation import IGNORE

Read = TypeVar("Read")


def read_masks(files: Sequence[str], images: Sequence[str], input: Input, workers: int) -> Pixels:
    """The masks, uint8 (N, H, W) of class ids below `input.outputs`, or 255.

    Raises SweepError, with the first such file, where a mask is no map of ids, has another size than its
    image, or an id that is no class."""

    def resized(ids_HW: np.ndarray) -> Pixels:
        return np.asarray(Image.fromarray(ids_HW.astype(np.uint8)).resize(input.size, Image.Resampling.NEAREST))

    return np.stack(map_masks(resized, files, images, input.outputs, workers))


def map_masks(
    use: Callable[[np.ndarray], Read], files: Sequence[str], images: Sequence[str], classes: int, workers: int
) -> list[Read]:
    """The results of `use`, of the ids (H, W) of each mask. Raises the SweepError of `read_masks`."""

    def read(file: str, image_file: str) -> tuple[Read | None, str]:
        try:
            ids_HW = read_ids(file)
        except SweepError as error:
            return None, str(error)
        size = attempt(image_file, turned_size, image_file)
        if isinstance(size, Unreadable):
            return None, size.sentence
        if ids_HW.shape[::-1] != size:
            return None, f"{file} has {ids_HW.shape[1]} x {ids_HW.shape[0]} pixels, but its image {size[0]} x {size[1]}"
        others = sorted(set(pixels_of(ids_HW)) - set(range(classes)) - {IGNORE})
        if others:
            return None, f"{file} has the ids {first_few(list(map(str, others)))}"
        return use(ids_HW), ""

    with ThreadPoolExecutor(max(1, workers)) as pool:
        done = list(pool.map(read, files, images))
    wrong = [problem for _, problem in done if problem]
    if wrong:
        for problem in wrong[1:MAX_NAMED_FILES]:  # an error is short, and has the first
            say(f"data: {problem}")
        raise SweepError(
            f"data.path: masks must be as large as their images, with ids from 0 to {classes - 1} (input.classes) or "
            f"{IGNORE}, but {len(wrong)} of {len(done)} are not: {first_few(wrong, 1)}"
        )
    return [one for one, _ in done if one is not None]


def read_ids(file: str) -> np.ndarray:
    """The ids of a mask, (H, W). Raises SweepError where it cannot be read, or its pixels are colours."""
    ids_HW = attempt(file, _ids, file)
    if isinstance(ids_HW, Unreadable):
        raise SweepError(ids_HW.sentence)
    return ids_HW.astype(np.uint8) if ids_HW.dtype == bool else ids_HW


def pixels_of(ids_HW: np.ndarray) -> Counter[int]:
    """The ids that a mask holds, each with the number of its pixels."""
    pixels: Counter[int] = Counter()
    for part in np.array_split(ids_HW, -(-ids_HW.size // LARGE)):  # what is computed of some rows is small
        ids, counts = np.unique(part, return_counts=True)
        pixels.update(dict(zip(ids.tolist(), counts.tolist(), strict=True)))
    return pixels


def _ids(file: str) -> np.ndarray:
    with open_image(file) as mask:
        if mask.mode not in ("1", "L", "P", "LA", "RGB", "RGBA", "I", "I;16", "I;16B", "I;16L"):
            raise SweepError(f"{file} must be a mask of class ids, grey or with a palette, but is {mask.mode}")
        bands, rows, mode = [], max(1, LARGE // mask.width), mask.mode  # what is computed of some rows is small
        for top in range(0, mask.height, rows):
            band = np.asarray(mask.crop((0, top, mask.width, min(mask.height, top + rows))))
            if band.ndim == 3 and (band[..., :1] != band[..., : 1 if mode == "LA" else 3]).any():
                raise SweepError(f"{file} holds colours, not ids (mode {mode}): save it as grey or with a palette")
            bands.append(band[..., 0].copy() if band.ndim == 3 else band)
        return np.concatenate(bands)


def must_hold_classes(held: Iterable[int], names: Sequence[str], folder: Path, files: Iterable[str] = ()) -> list[str]:
    """The classes that the masks for training lack: `held` by those that were read. Where these hold fewer than two,
    `files` are read until there are two. Raises SweepError if there are not."""
    ids = set(held)
    for file in files:
        if len(ids - {IGNORE}) > 1:
            break
        with suppress(SweepError):  # of an unreadable file, which reading tells
            ids.update(pixels_of(read_ids(file)))
    missing = [name for label, name in enumerate(names) if label not in ids]
    if len(names) - len(missing) < 2:
        hint = f"; where {IGNORE} marks an object, write 1" if IGNORE in ids else ""
        raise SweepError(
            f"data.path: the masks of {folder} must hold two classes at least, but no pixel has {first_few(missing)} "
            f"({IGNORE} counts nowhere{hint})"
        )
    return missing
