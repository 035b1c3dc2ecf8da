"""One folder per class: DIR/train and DIR/test (or val, valid), or one tree, of which a fifth becomes the test split.

Any image that Pillow opens: grey, palette, CMYK, 16 bits, transparent (put on white), turned by EXIF, of any size. For
evaluation the largest centred square is resized (bicubic, antialiased) to the resolution of the search space.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ffnet_search.config.schema import DataSection
from ffnet_search.data.dataset import DataSet, Images, Indices, InMemory, Pixels, Source, must_match, split_test
from ffnet_search.errors import SweepError
from ffnet_search.progress import progress
from ffnet_search.space.input import Input
from ffnet_search.tasks.base import Targets

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
HIDDEN = (".", "__MACOSX")  # folders that are no classes; the second is what a Mac packs into a zip file
DRAWN = ("EPS", "WMF")  # by Ghostscript, a programming language, and by Windows
TEST_FOLDERS = ("test", "val", "valid", "validation")  # the first that exists
RATIOS = (3 / 4, 4 / 3)  # of width to height in random resized crops (Szegedy et al. 2015)
ATTEMPTS = 10  # at a random box inside the image
BAR_FROM = 5000  # files; fewer are decoded before a bar could be read
MIB = 1 << 20
Box = tuple[float, float, float, float]  # left, upper, right, lower
Labels = NDArray[np.int64]


class ImageFolder(DataSet):
    """`data.name: image_folder`. Sets of up to `in_memory_mb` are decoded once, larger ones batch by batch."""

    tasks = ("classification",)

    def read(self, section: DataSection, input: Input) -> Source:
        root, test_root = find_roots(section)
        classes = find_classes(root)
        files, labels_N, digest = list_images(root, classes)
        if test_root is None:
            train, test = split_test(labels_N)
        else:
            test_files, test_labels_N, test_digest = list_images(test_root, classes)
            train, test = np.split(np.arange(len(files) + len(test_files)), [len(files)])
            files, labels_N = files + test_files, np.concatenate((labels_N, test_labels_N))
            digest = hashlib.sha256(f"{digest} {test_digest}".encode()).hexdigest()
        mode = "L" if input.channels == 1 else "RGB"
        decoder = Decoder(tuple(files), input.resolution, mode, section.workers, section.augment.resized_crop)
        fits = len(files) * input.resolution**2 * input.channels <= section.in_memory_mb * MIB
        parts: list[Images]
        if fits and not section.augment.resized_crop:
            pixels_NHWC = decoder.read(range(len(files)))
            parts = [InMemory(pixels_NHWC[part], labels_N[part]) for part in (train, test)]
        else:
            parts = [OnDisk(decoder, part, labels_N[part]) for part in (train, test)]
        return Source(parts[0], parts[1], classes, digest)

    def check(self, section: DataSection, input: Input) -> None:
        if input.channels not in (1, 3):
            raise SweepError(
                f"data.name: {section.name!r} has images of 1 or 3 channels, but the search space has input.channels "
                f"{input.channels}; set input.channels: 3 in the search space's file"
            )
        root, test_root = find_roots(section)
        classes = find_classes(root)
        must_match(section, input, outputs=len(classes))
        for folder in (root,) if test_root is None else (root, test_root):
            empty = [name for name in classes if next(image_files(folder / name), None) is None]
            if empty:
                raise SweepError(
                    f"data.path: every class folder of {folder} must hold images ({', '.join(EXTENSIONS)}), but "
                    f"{', '.join(empty)} {'has' if len(empty) == 1 else 'have'} none; fill or remove them"
                )
            for file in (file for name in classes for file in image_files(folder / name)):
                if file.is_symlink():  # the others are looked at when they are read: there may be millions
                    image_bytes(file)
        extra = [] if test_root is None else sorted(set(find_classes(test_root)) - set(classes))
        if extra:
            raise SweepError(f"data.path: {test_root} must have the classes of {root}, but also has {', '.join(extra)}")


@dataclass(frozen=True)
class Decoder:
    """All files of a data set, read as squares of one size."""

    files: tuple[str, ...]
    side: int  # pixels
    mode: str  # Pillow's: "L" or "RGB"
    workers: int
    resized_crop: float  # the least share of an image's area in a random resized crop; 0: no such crops
    key: Sequence[int] | None = None  # of the draws of random resized crops; None: the centred square
    whole: bool = False  # the whole image is resized, and not its centred square

    def decode(self, index: int) -> Pixels | str:
        """One image, uint8 (H, W, C), or the name of an unreadable file with the reason."""
        try:
            with open_image(self.files[index]) as file:
                if self.key is None:
                    file.draft(None, (2 * self.side, 2 * self.side))  # JPEG: decodes no more than is needed
                image = to_mode(ImageOps.exif_transpose(file), self.mode)
            if self.whole:
                box = (0.0, 0.0, float(image.width), float(image.height))
            elif self.key is None:
                box = centre_box(*image.size)
            else:
                box = random_box(*image.size, self.resized_crop, np.random.default_rng([*self.key, index]))
            image = image.resize((self.side, self.side), Image.Resampling.BICUBIC, box)
            return np.asarray(image).reshape(self.side, self.side, -1)
        except Exception as error:  # Pillow's plugins raise anything at a broken file
            return f"{self.files[index]} ({str(error) or type(error).__name__})"

    __getitem__ = decode  # as the data set of a DataLoader

    def read(self, indices: Sequence[int]) -> Pixels:
        """Images, uint8 (B, H, W, C), decoded by threads. Raises SweepError with the names of all unreadable files."""
        pixels: list[Pixels] = []
        broken: list[str] = []
        shown = progress("decode images", len(indices), "files") if len(indices) >= BAR_FROM else nullcontext()
        with ThreadPoolExecutor(max(1, self.workers)) as pool, shown as bar:
            for item in pool.map(self.decode, indices):
                if bar is not None:
                    bar.advance()
                if isinstance(item, str):
                    broken.append(item)
                else:
                    pixels.append(item)
        if broken:
            raise SweepError(
                f"data.path: {len(broken)} files cannot be read as images; remove or replace them: {', '.join(broken)}"
            )
        return np.stack(pixels)


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
        largest = max(map(len, lists), default=0) * decoder.side**2 * len(decoder.mode)
        # Each worker prefetches two batches, and waits for ever where they do not fit: a container may have 64 MB.
        collate = _as_tensor if _shared_memory() > 2 * (2 * decoder.workers + 1) * largest else _stacked
        for pixels in DataLoader(dataset, batch_sampler=lists, num_workers=decoder.workers, collate_fn=collate):
            if pixels is None:
                decoder.read(range(len(decoder.files)))  # raises, with all unreadable files
            yield np.asarray(pixels)


def _stacked(items: list[Pixels | str]) -> Pixels | None:
    """One array, passed by a pipe, or None where an image is unreadable."""
    pixels = [item for item in items if not isinstance(item, str)]
    return np.stack(pixels) if len(pixels) == len(items) else None


def _as_tensor(items: list[Pixels | str]) -> Any:
    """The same as a tensor, passed by shared memory."""
    import torch

    pixels = _stacked(items)
    return None if pixels is None else torch.from_numpy(pixels)


def _shared_memory() -> float:
    """The free bytes of this machine's shared memory; infinite where it is no folder."""
    try:
        return shutil.disk_usage("/dev/shm").free
    except OSError:
        return math.inf


def open_image(file: str | Path) -> Image.Image:
    """Open an image by its content, but not in the formats that Pillow has other programs draw."""
    Image.init()
    return Image.open(file, formats=[name for name in Image.ID if name not in DRAWN])


def to_mode(image: Image.Image, mode: str) -> Image.Image:
    """Convert `image` to 8-bit "L" or "RGB". Raises ValueError where its levels have no known range."""
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


def find_roots(section: DataSection) -> tuple[Path, Path | None]:
    """The folders of training and test classes; None where the test split is held out of the first."""
    if section.path is None:
        raise SweepError(f"data.path must be given for {section.name}: the folder with one folder per class")
    root = section.path.expanduser()
    if not root.is_dir():
        raise SweepError(f"data.path: {root} must be a folder with one folder per class, but there is no such folder")
    tests = [root / name for name in TEST_FOLDERS if (root / name).is_dir()]
    return (root / "train", tests[0]) if (root / "train").is_dir() and tests else (root, None)


def find_classes(folder: Path) -> tuple[str, ...]:
    """The sorted names of the class folders. Raises SweepError for fewer than two."""
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(HIDDEN))
    if len(names) < 2:
        raise SweepError(f"data.path: {folder} must hold a folder per class, two at least, but holds {names or 'none'}")
    return tuple(names)


def image_files(folder: Path) -> Iterator[Path]:
    """Files below `folder` with an image's extension, in no particular order."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.lower().endswith(EXTENSIONS) and not name.startswith("."):
                yield Path(place, name)


def image_bytes(file: Path) -> int:
    """The bytes of an image's file. Raises SweepError for a link to nothing, a pipe or a socket."""
    try:
        status = file.stat()
    except OSError as error:
        kind = "is a link that leads nowhere" if file.is_symlink() else "cannot be read"
        raise SweepError(f"data.path: {file} {kind} ({error.strerror}); restore or remove it") from None
    if not stat.S_ISREG(status.st_mode):
        raise SweepError(f"data.path: {file} must be a file, but is a pipe, a socket or a device; remove it")
    return status.st_size


def list_images(root: Path, classes: tuple[str, ...]) -> tuple[list[str], Labels, str]:
    """Files, labels (int64), and a sha256 of relative names and sizes: cheap, and the same on every machine."""
    files: list[str] = []
    labels: list[int] = []
    sha = hashlib.sha256()
    for label, name in enumerate(classes):
        for file in sorted(image_files(root / name), key=lambda path: path.relative_to(root).as_posix()):
            name_in_root = file.relative_to(root).as_posix().encode(errors="surrogateescape")
            sha.update(b"%b\0%d\n" % (name_in_root, image_bytes(file)))
            files.append(str(file))
            labels.append(label)
    return files, np.array(labels, dtype=np.int64), sha.hexdigest()
