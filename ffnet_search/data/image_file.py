"""One image as a network sees it: turned as its EXIF says, 8 bits, on white where transparent, cut and resized.

The text of this file is a part of every exported `predict.py`, so it needs numpy and Pillow alone: what is deployed is
what was trained. Of animations and of files with several pages the first one is taken. Large images are converted tile
by tile, so that they take little more memory than Pillow needs to decode them; it refuses those of 179 million pixels.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from functools import cache

import numpy as np
from PIL import Image, ImageOps

DRAWN = ("EPS", "WMF")  # by Ghostscript, a programming language, and by Windows: not opened
LARGE = 1 << 24  # pixels; larger images are converted tile by tile, and reduced where fewer are enough
TILE_SIDE = 1 << 11  # pixels
ORIENTATION = 0x0112  # of EXIF
Box = tuple[float, float, float, float]  # left, upper, right, lower


def open_image(file: str | os.PathLike[str]) -> Image.Image:
    """Open an image by its content, but not in the formats that Pillow has other programs draw. Raises OSError."""
    file_bytes(file)
    Image.init()
    _accept_large_images()
    return Image.open(file, formats=[name for name in Image.ID if name not in DRAWN])


def file_bytes(file: str | os.PathLike[str]) -> int:
    """The bytes of a regular file. Raises OSError for anything else: a pipe would be waited for without end."""
    status = os.stat(file)
    if not stat.S_ISREG(status.st_mode):
        raise OSError("it is no file, but a folder, a pipe, a socket or a device")
    return status.st_size


@cache
def _accept_large_images() -> None:
    """Silence Pillow's warnings of images from half the size on that it refuses and of odd EXIF: such files are images,
    too."""
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def turned_size(file: str | os.PathLike[str]) -> tuple[int, int]:
    """Width and height of an image, turned as its EXIF says."""
    with open_image(file) as image:
        return (image.height, image.width) if _is_turned(image) else image.size


def _is_turned(image: Image.Image) -> bool:
    """Return whether EXIF turns an image by a quarter. Pillow turns TIFF while it decodes, so that is decoded first."""
    if image.format == "TIFF":
        image.load()
    return image.getexif().get(ORIENTATION, 1) in range(5, 9)


def to_mode(image: Image.Image, mode: str) -> Image.Image:
    """Convert `image` to 8-bit "L" or "RGB". Raises ValueError where its levels have no known range."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if image.mode.startswith("I"):  # 16 bits, which `convert` would clip at 255
        levels = np.clip(np.asarray(image), 0, 65535).astype(np.uint32)
        image = Image.fromarray(((levels + 128) // 257).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def read_whole(
    file: str | os.PathLike[str], mode: str, least: tuple[int, int] | None = None, above: int = 0
) -> Image.Image:
    """The whole image in `mode`. `least`: width and height that are enough of an image of more than `above` pixels:
    JPEG then decodes no more, and large images are reduced by a whole number."""
    with open_image(file) as opened:
        factor, turned = 1, _is_turned(opened)
        if least is not None and opened.width * opened.height > above:
            wide, high = reversed(least) if turned else least
            opened.draft(None, (wide, high))
            factor = max(1, min(opened.width // wide, opened.height // high))
        if opened.width * opened.height <= LARGE:
            return to_mode(ImageOps.exif_transpose(opened), mode)
        if factor == 1 and opened.mode == mode and "transparency" not in opened.info:
            ImageOps.exif_transpose(opened, in_place=True)  # no copy
            return opened
        whole = Image.new(mode, (-(-opened.width // factor), -(-opened.height // factor)))
        for left, top, tile in tiles(opened, mode, factor):
            whole.paste(tile.reduce(factor), (left // factor, top // factor))
        whole.getexif()[ORIENTATION] = opened.getexif().get(ORIENTATION, 1)
    ImageOps.exif_transpose(whole, in_place=True)
    return whole


def tiles(image: Image.Image, mode: str, factor: int = 1) -> Iterator[tuple[int, int, Image.Image]]:
    """The image in `mode`, in tiles whose sides are multiples of `factor` but for the last: left, upper, tile."""
    side = factor * max(1, TILE_SIDE // factor)
    for top in range(0, image.height, side):
        for left in range(0, image.width, side):
            box = (left, top, min(image.width, left + side), min(image.height, top + side))
            yield left, top, to_mode(image.crop(box), mode)


def centre_box(width: int, height: int, ratio: float = 1.0) -> Box:
    """The largest centred box of `ratio`, width to height: a square by default."""
    wide, high = min(width, height * ratio), min(height, width / ratio)
    left, upper = (width - wide) / 2, (height - high) / 2
    return left, upper, left + wide, upper + high


def fitted(image: Image.Image, size: tuple[int, int], box: Box) -> np.ndarray:
    """The pixels of a box of an image at `size`, (width, height): uint8 (H, W, C); bicubic, antialiased."""
    width, height = size
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC, box)).reshape(height, width, -1)


def prepare(file: str | os.PathLike[str], mode: str, size: tuple[int, int], whole: bool = False) -> np.ndarray:
    """An image as it is evaluated: its largest centred box of the shape of `size`, (width, height), or the `whole`.

    Returns uint8 (H, W, C). Raises whatever Pillow raises at a broken file."""
    width, height = size
    image = read_whole(file, mode, (2 * width, 2 * height))
    box = (0.0, 0.0, float(image.width), float(image.height)) if whole else centre_box(*image.size, width / height)
    return fitted(image, size, box)
