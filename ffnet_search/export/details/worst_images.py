"""The worst images of a network on test, as one sheet: a row for each, of the same image in several forms."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Pixels = NDArray[np.uint8]
SHEET = "worst.png"
WORST = 6  # images that are shown
GAP = 4


@dataclass(frozen=True, order=True)
class WorstImage:
    """An image in several forms, each uint8 (H, W) or (H, W, C), and the words on each; the worst are the largest, and
    of equals the first."""

    badness: float
    earlier: int
    forms: tuple[Pixels, ...] = field(compare=False)
    words: tuple[str, ...] = field(compare=False)


class WorstImages:
    """Keeps the worst of many images, and draws them."""

    def __init__(self) -> None:
        self._heap: list[WorstImage] = []
        self._added = 0

    def add(self, badness: float, make_forms: Callable[[], tuple[Sequence[Pixels], Sequence[str]]]) -> None:
        """Take the next image of the split; its forms and words are made where it is one of the worst so far."""
        if len(self._heap) < WORST or badness > self._heap[0].badness:
            forms, words = make_forms()
            heapq.heappush(self._heap, WorstImage(badness, -self._added, tuple(forms), tuple(words)))
            if len(self._heap) > WORST:
                heapq.heappop(self._heap)
        self._added += 1

    @property
    def worst(self) -> list[WorstImage]:
        """The worst first."""
        return sorted(self._heap, reverse=True)

    def write(self, folder: Path, tile: int) -> str:
        """Write the sheet into `folder`, with tiles of so many pixels a side; return the name of its file."""
        draw_sheet(self.worst, tile).save(folder / SHEET)
        return SHEET


def draw_sheet(images: Sequence[WorstImage], tile: int) -> Image.Image:
    """A row for each image, with the words on its forms."""
    columns = len(images[0].forms)
    sheet = Image.new("RGB", (columns * (tile + GAP) - GAP, len(images) * (tile + GAP) - GAP), "white")
    drawing = ImageDraw.Draw(sheet)
    for row, one in enumerate(images):
        for column, (pixels, words) in enumerate(zip(one.forms, one.words, strict=True)):
            x, y = column * (tile + GAP), row * (tile + GAP)
            sheet.paste(Image.fromarray(pixels).resize((tile, tile), Image.Resampling.NEAREST), (x, y))
            drawing.text((x + 4, y + 2), words, fill="white", stroke_width=2, stroke_fill="black")
    return sheet
