"""A look at the images that memory does not hold: a broken one would end the training that opens it first."""

from __future__ import annotations

import time

import numpy as np

from ffnet_search.data.dataset import OnDemand
from ffnet_search.data.unreadable import Unreadable, refuse_unreadable
from ffnet_search.progress import clock, progress, say

LOOK_S = 120.0  # at most: a set that takes longer costs hours of training
CHUNK = 256  # images between two looks at the clock


def look_at(images: OnDemand, seconds: float = LOOK_S) -> None:
    """Read images as a training does, in a random order and for so many seconds at most, and say how many are left.

    Raises SweepError if some of them cannot be read."""
    order, end = np.random.default_rng(0).permutation(images.number).tolist(), time.monotonic() + seconds
    broken: list[Unreadable] = []
    opened = 0
    with progress("look at images", images.number, "images") as bar:
        while opened < images.number and time.monotonic() < end:
            chunk = order[opened : opened + CHUNK]
            broken += [one for one in images.read(chunk) if isinstance(one, Unreadable)]
            opened += len(chunk)
            bar.advance(len(chunk))
    refuse_unreadable(sorted(broken, key=str))
    if opened < images.number:
        say(
            f"data: {opened:,} of {images.number:,} images were opened in {clock(seconds)} and can be read; the others "
            "are opened in training: `ffnet-search check SWEEP --data` opens all"
        )
