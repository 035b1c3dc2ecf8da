"""One folder per class: DIR/train and DIR/test (or val, valid), or one tree, a fifth of which becomes test.

Any picture that Pillow opens: grey, palette, CMYK, 16 bits, transparent (put on white), turned by EXIF, of any size.
For evaluation the largest centred square is resized (bicubic, antialiased) to the resolution of the search space.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ffnet_search.config.schema import DataSection
from ffnet_search.data.dataset import Images, Indices, InMemory, Labels, Pixels, Source, must_match, split_test
from ffnet_search.errors import SweepError
from ffnet_search.progress import Bar, progress
from ffnet_search.space.architecture import Input

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
TEST_FOLDERS = ("test", "val", "valid", "validation")  # the first that is there
RATIOS = (3 / 4, 4 / 3)  # of width to height in random resized crops (Szegedy et al. 2015)
ATTEMPTS = 10  # at a random box that fits into the picture
BAR_FROM = 5000  # files; fewer are decoded before a bar could be read
MIB = 1 << 20
Box = tuple[float, float, float, float]  # left, upper, right, lower


@dataclass(frozen=True)
class Unreadable:
    file: str
    reason: str


class ImageFolder:
    """`data.name: image_folder`. Sets of up to `in_memory_mb` are decoded once, larger ones by workers as they come."""

    def read(self, data: DataSection, input: Input) -> Source:
        self.check(data, input)
        root, test_root = find_roots(data)
        classes = find_classes(root)
        files, labels, digest = list_pictures(root, classes)
        if test_root is None:
            train, test = split_test(labels)
        else:
            test_files, test_labels, test_digest = list_pictures(test_root, classes)
            train, test = np.split(np.arange(len(files) + len(test_files)), [len(files)])
            files, labels = files + test_files, np.concatenate((labels, test_labels))
            digest = hashlib.sha256(f"{digest} {test_digest}".encode()).hexdigest()
        mode = "L" if input.channels == 1 else "RGB"
        pictures = Pictures(tuple(files), input.resolution, mode, data.workers, data.augment.resized_crop)
        fits = len(files) * input.resolution**2 * input.channels <= data.in_memory_mb * MIB
        parts: list[Images]
        if fits and not data.augment.resized_crop:
            pixels_NHWC = pictures.read(range(len(files)))
            parts = [InMemory(pixels_NHWC[part], labels[part]) for part in (train, test)]
        else:
            parts = [FileImages(pictures, part, labels[part]) for part in (train, test)]
        return Source(parts[0], parts[1], classes, digest)

    def check(self, data: DataSection, input: Input) -> None:
        if input.channels not in (1, 3):
            raise SweepError(
                f"data.name: {data.name!r} has pictures of 1 or 3 channels, but the search space has input.channels "
                f"{input.channels}; set input.channels: 3 in the search space's file"
            )
        root, test_root = find_roots(data)
        classes = find_classes(root)
        must_match(data, input, channels=input.channels, resolution=input.resolution, classes=len(classes))
        for folder in (root,) if test_root is None else (root, test_root):
            empty = [name for name in classes if next(_pictures(folder / name), None) is None]
            if empty:
                raise SweepError(
                    f"data.path: every class folder of {folder} must hold pictures ({', '.join(EXTENSIONS)}), but "
                    f"{', '.join(empty)} {'has' if len(empty) == 1 else 'have'} none; fill or remove what is empty"
                )
        extra = [] if test_root is None else sorted(set(find_classes(test_root)) - set(classes))
        if extra:
            raise SweepError(f"data.path: {test_root} must have the classes of {root}, but also has {', '.join(extra)}")


@dataclass(frozen=True)
class Pictures:
    """All files of a data set, and how they are made into squares of one size."""

    files: tuple[str, ...]
    side: int
    mode: str
    workers: int
    resized_crop: float

    def decode(self, index: int, key: Sequence[int] | None = None) -> Pixels | Unreadable:
        """One image, uint8 (H, W, C), or why it cannot be read. `key` draws a random resized crop of it."""
        try:
            with Image.open(self.files[index]) as image:
                if key is None:
                    image.draft(None, (2 * self.side, 2 * self.side))  # JPEG: decodes no more than is needed
                picture = to_mode(ImageOps.exif_transpose(image), self.mode)
            if key is None:
                box = centre_box(*picture.size)
            else:
                box = random_box(*picture.size, self.resized_crop, np.random.default_rng([*key, index]))
            picture = picture.resize((self.side, self.side), Image.Resampling.BICUBIC, box)
            return np.asarray(picture).reshape(self.side, self.side, -1)
        except Exception as error:  # Pillow's plugins raise anything at a broken file
            return Unreadable(self.files[index], str(error) or type(error).__name__)

    def read(self, indices: Sequence[int]) -> Pixels:
        """uint8 (B, H, W, C), decoded by threads. Raises SweepError with the names of all that cannot be read."""
        with ThreadPoolExecutor(max(1, self.workers)) as pool:
            items = pool.map(self.decode, indices)
            if len(indices) < BAR_FROM:
                return stack(items)
            with progress("decode pictures", len(indices), "files") as bar:
                return stack(_counted(items, bar))


class FileImages:
    """Images that are decoded as they are read: `members` of `pictures`."""

    def __init__(self, pictures: Pictures, members: Indices, labels_N: Labels) -> None:
        self.labels_N = labels_N
        self._pictures, self._members = pictures, members

    def read(self, indices: Indices) -> Pixels:
        return self._pictures.read(self._members[indices].tolist())

    def stream(self, batches: Sequence[Indices], key: Sequence[int] | None = None) -> Iterator[Pixels]:
        from torch.utils.data import DataLoader  # a check of the data needs no torch

        crops: Any = _Decoder(self._pictures, key if self._pictures.resized_crop else None)
        lists = [self._members[batch].tolist() for batch in batches]
        for pixels in DataLoader(crops, batch_sampler=lists, num_workers=self._pictures.workers, collate_fn=_collate):
            if pixels is None:
                self._pictures.read(range(len(self._pictures.files)))  # finds all that are broken, and raises
            yield pixels.numpy()


class _Decoder:
    """What a worker process is given: the files, and the key of this epoch's crops."""

    def __init__(self, pictures: Pictures, key: Sequence[int] | None) -> None:
        self._pictures, self._key = pictures, key

    def __getitem__(self, index: int) -> Pixels | Unreadable:
        return self._pictures.decode(index, self._key)


def _collate(items: list[Pixels | Unreadable]) -> Any:
    """In the worker: one tensor, which goes through shared memory, or None where a picture could not be read."""
    import torch

    pixels = [item for item in items if not isinstance(item, Unreadable)]
    return torch.from_numpy(np.stack(pixels)) if len(pixels) == len(items) else None


def _counted(items: Iterable[Pixels | Unreadable], bar: Bar) -> Iterator[Pixels | Unreadable]:
    for item in items:
        bar.advance()
        yield item


def stack(items: Iterable[Pixels | Unreadable]) -> Pixels:
    """uint8 (B, H, W, C). Raises SweepError with the names of all that could not be read."""
    pixels: list[Pixels] = []
    broken: list[Unreadable] = []
    for item in items:
        if isinstance(item, Unreadable):
            broken.append(item)
        else:
            pixels.append(item)
    if broken:
        names = ", ".join(f"{item.file} ({item.reason})" for item in broken)
        raise SweepError(f"data.path: {len(broken)} files cannot be read as pictures; remove or replace them: {names}")
    return np.stack(pixels)


def to_mode(image: Image.Image, mode: str) -> Image.Image:
    """`image` as 8-bit "L" or "RGB". Raises ValueError where its levels have no known range."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode.startswith("I"):  # 16 bits, which `convert` would clip at 255
        levels = np.asarray(image).astype(np.float64) / 257
        image = Image.fromarray(np.rint(levels).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def centre_box(width: int, height: int) -> Box:
    """The largest centred square."""
    side = min(width, height)
    left, upper = (width - side) / 2, (height - side) / 2
    return left, upper, left + side, upper + side


def random_box(width: int, height: int, least_share: float, rng: np.random.Generator) -> Box:
    """A box of `least_share` to all of the area and of width : height 3:4 to 4:3; the centred square if none fits."""
    for _ in range(ATTEMPTS):
        area = width * height * rng.uniform(least_share, 1)
        ratio = math.exp(rng.uniform(math.log(RATIOS[0]), math.log(RATIOS[1])))
        box_width, box_height = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if 1 <= box_width <= width and 1 <= box_height <= height:
            left, upper = rng.uniform(0, width - box_width), rng.uniform(0, height - box_height)
            return left, upper, left + box_width, upper + box_height
    return centre_box(width, height)


def find_roots(data: DataSection) -> tuple[Path, Path | None]:
    """The folders of training and test classes; None where the test split is to be held out."""
    if data.path is None:
        raise SweepError(f"data.path must be given for {data.name}: the folder with one folder per class")
    root = data.path.expanduser()
    if not root.is_dir():
        raise SweepError(f"data.path: {root} must be a folder with one folder per class, but there is no such folder")
    tests = [root / name for name in TEST_FOLDERS if (root / name).is_dir()]
    return (root / "train", tests[0]) if (root / "train").is_dir() and tests else (root, None)


def find_classes(folder: Path) -> tuple[str, ...]:
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    if len(names) < 2:
        raise SweepError(f"data.path: {folder} must hold a folder per class, two at least, but holds {names or 'none'}")
    return tuple(names)


def _pictures(folder: Path) -> Iterator[Path]:
    """Files below `folder` that are called pictures, in no particular order."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.lower().endswith(EXTENSIONS) and not name.startswith("."):
                yield Path(place, name)


def list_pictures(root: Path, classes: tuple[str, ...]) -> tuple[list[str], Labels, str]:
    """Files, labels (int64), and a sha256 of relative names and sizes: cost_model, and the same on every machine."""
    files: list[str] = []
    labels: list[int] = []
    sha = hashlib.sha256()
    for label, name in enumerate(classes):
        for file in sorted(_pictures(root / name), key=lambda path: path.relative_to(root).as_posix()):
            sha.update(f"{file.relative_to(root).as_posix()}\0{file.stat().st_size}\n".encode())
            files.append(str(file))
            labels.append(label)
    return files, np.array(labels, dtype=np.int64), sha.hexdigest()
