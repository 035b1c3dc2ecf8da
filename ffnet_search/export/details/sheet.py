"""A sheet of images with words below each, for the report."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageDraw
from torch import Tensor

from ffnet_search.data.datamodule import Data
from ffnet_search.export.details.masks import as_pixels

COLUMNS = 5
TILE, LINE, GAP = 112, 14, 6  # pixels: a side of an image, the height of a line below it, between images
LETTERS = 17  # of a name below an image
BLACK, RED = (0, 0, 0), (176, 32, 24)


@dataclass(frozen=True)
class Tile:
    """A normalised image (C, H, W), and the lines below it: the label, then the prediction."""

    image_CHW: Tensor
    right: tuple[str, ...]
    said: tuple[str, ...]


def draw_sheet(tiles: list[Tile], data: Data) -> Image.Image:
    """The images, five in a row."""
    lines = max(len(tile.right) + len(tile.said) for tile in tiles)
    height, rows = TILE + 3 + lines * LINE + GAP, -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (min(COLUMNS, len(tiles)) * (TILE + GAP) - GAP, rows * height - GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for number, tile in enumerate(tiles):
        x, y = number % COLUMNS * (TILE + GAP), number // COLUMNS * height
        image = Image.fromarray(as_pixels(tile.image_CHW, data))
        by = TILE / max(image.size)
        size = max(1, round(by * image.width)), max(1, round(by * image.height))
        sheet.paste(image.resize(size, Image.Resampling.NEAREST), (x, y))
        words = [(line, BLACK) for line in tile.right] + [(line, RED) for line in tile.said]
        for place, (line, colour) in enumerate(words):
            draw.text((x, y + TILE + 3 + place * LINE), line, fill=colour)
    return sheet


def plain(name: str, ending: str = "") -> str:
    """Words that the built-in font can draw: of a long name, the beginning."""
    words = name if len(name) <= LETTERS else f"{name[: LETTERS - 2]}.."
    return f"{words} {ending}".rstrip().encode("ascii", "replace").decode()
