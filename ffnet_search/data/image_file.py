"""One image as a network sees it: turned as its EXIF says, 8 bits, on white where transparent, cut and resized.

The text of this file is a part of every exported `predict.py`, so it needs numpy and Pillow alone: what is deployed is
what was trained. Of animations and of files with several pages the first one is taken.
"""

from __future__ import annotations

import os

import numpy as np
from PIL import Image, ImageOps

DRAWN = ("EPS", "WMF")  # by Ghostscript, a programming language, and by Windows: not opened
Box = tuple[float, float, float, float]  # left, upper, right, lower


def open_image(file: str | os.PathLike[str]) -> Image.Image:
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


def read_whole(file: str | os.PathLike[str], mode: str, least: tuple[int, int] | None = None) -> Image.Image:
    """The whole image in `mode`. `least`: width and height that are enough: JPEG then decodes no more."""
    with open_image(file) as opened:
        if least is not None:
            opened.draft(None, least)
        return to_mode(ImageOps.exif_transpose(opened), mode)


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
