"""The worst images of a network on test, and a sheet of them: a row for each, of the same image in several forms."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ffnet_search.space.sides import Side, height_and_width

Pixels = NDArray[np.uint8]
Shown = TypeVar("Shown")
SHEET = "worst.png"
GAP = 4


@dataclass(frozen=True, order=True)
class _Kept(Generic[Shown]):
    """The form in which an image will be shown; the worst are the largest, and of equals the first."""

    badness: float
    earlier: int
    shown: Shown = field(compare=False)


class WorstImages(Generic[Shown]):
    """The worst `count` of many images, in the form in which they will be shown."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._heap: list[_Kept[Shown]] = []
        self._added = 0

    def add(self, badness: float, make: Callable[[], Shown]) -> None:
        """Take the next image of the split; what is shown of it is made where it is one of the worst so far."""
        if len(self._heap) < self._count or badness > self._heap[0].badness:
            heapq.heappush(self._heap, _Kept(badness, -self._added, make()))
            if len(self._heap) > self._count:
                heapq.heappop(self._heap)
        self._added += 1

    @property
    def worst(self) -> list[Shown]:
        """The worst first."""
        return [one.shown for one in sorted(self._heap, reverse=True)]


@dataclass(frozen=True)
class Forms:
    """An image in several forms, each uint8 (H, W) or (H, W, C), and the words on each."""

    images: Sequence[Pixels]
    words: Sequence[str]


def write_forms(folder: Path, worst: Sequence[Forms], tile: Side) -> str:
    """Write the sheet into `folder`, with tiles of so many pixels a side; return the name of its file."""
    high, wide = height_and_width(tile)
    columns = len(worst[0].images)
    sheet = Image.new("RGB", (columns * (wide + GAP) - GAP, len(worst) * (high + GAP) - GAP), "white")
    drawing = ImageDraw.Draw(sheet)
    for row, one in enumerate(worst):
        for column, (pixels, words) in enumerate(zip(one.images, one.words, strict=True)):
            x, y = column * (wide + GAP), row * (high + GAP)
            sheet.paste(Image.fromarray(pixels).resize((wide, high), Image.Resampling.NEAREST), (x, y))
            drawing.text((x + 4, y + 2), words, fill="white", stroke_width=2, stroke_fill="black")
    sheet.save(folder / SHEET)
    return SHEET
