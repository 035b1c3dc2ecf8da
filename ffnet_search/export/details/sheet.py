"""A sheet of images with words below each, for the report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from ffnet_search.data.modules.base import Data

COLUMNS = 5
TILE, LINE, GAP = 112, 14, 6  # pixels: a side of an image, the height of a line below it, between images
LETTERS = 17  # of a name below an image
BLACK, RED = (0, 0, 0), (176, 32, 24)


@dataclass(frozen=True)
class Tile:
    """A normalised image (C, H, W), and the lines below it: the label, then the prediction."""

    image_CHW: Tensor
    label: tuple[str, ...]
    predicted: tuple[str, ...]


def draw_sheet(tiles: list[Tile], data: Data) -> Image.Image:
    """The images, five in a row."""
    lines = max(len(tile.label) + len(tile.predicted) for tile in tiles)
    height, rows = TILE + 3 + lines * LINE + GAP, -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (min(COLUMNS, len(tiles)) * (TILE + GAP) - GAP, rows * height - GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for number, tile in enumerate(tiles):
        x, y = number % COLUMNS * (TILE + GAP), number // COLUMNS * height
        image = Image.fromarray(as_pixels(tile.image_CHW, data))
        by = TILE / max(image.size)
        size = max(1, round(by * image.width)), max(1, round(by * image.height))
        sheet.paste(image.resize(size, Image.Resampling.NEAREST), (x, y))
        words = [(line, BLACK) for line in tile.label] + [(line, RED) for line in tile.predicted]
        for place, (line, colour) in enumerate(words):
            draw.text((x, y + TILE + 3 + place * LINE), line, fill=colour)
    return sheet


def plain(name: str, ending: str = "") -> str:
    """Words that the built-in font can draw: of a long name, the beginning."""
    words = name if len(name) <= LETTERS else f"{name[: LETTERS - 2]}.."
    return f"{words} {ending}".rstrip().encode("ascii", "replace").decode()


def as_pixels(image_CHW: Tensor, data: Data) -> NDArray[np.uint8]:
    """An image before it was normalised, uint8 (H, W, C); of a user-supplied data module, its levels are stretched."""
    if hasattr(data, "statistics"):
        mean_C, std_C = data.statistics
        levels_CHW = image_CHW * std_C[:, None, None] + mean_C[:, None, None]
    else:
        low, high = image_CHW.min(), image_CHW.max()
        levels_CHW = 255 * (image_CHW - low) / (high - low).clamp(min=1e-6)
    colours_CHW = levels_CHW if len(levels_CHW) == 3 else levels_CHW[:1].expand(3, -1, -1)
    pixels_HWC: NDArray[np.uint8] = colours_CHW.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return pixels_HWC
