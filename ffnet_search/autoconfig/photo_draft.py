"""Search spaces for photos to enlarge: networks of one stage, at the resolution of the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ffnet_search.autoconfig.draft import Draft, Size, isotropic_stage
from ffnet_search.autoconfig.inspect_photos import TASK, PhotoSet
from ffnet_search.config.schema import PATCHES
from ffnet_search.space.sides import Side

SPACES = (  # of one stage
    Size("medium", 0, 0, ((4, 6, 8, 12),), ((32, 48, 64),), (1, 2)),
    Size("small", 0, 0, ((2, 3, 4, 5, 6),), ((16, 24, 32),), (1, 2)),
    Size("tiny", 0, 0, ((1, 2, 3, 4),), ((8, 12, 16),), (1, 2)),
)


@dataclass(frozen=True)
class PhotoDraft(Draft):
    """A candidate of one stage at the resolution of the image."""

    images: PhotoSet
    input_words = "height and width of what is deployed: set yours; photos have any size"
    stem_words = "one convolution"
    stages_words = "one, at the resolution of the image"

    @property
    def content(self) -> dict[str, Any]:
        size, sides = self.size, list(self.images.deployed)
        images = {
            "channels": self.images.sample.channels,
            "resolution": sides,
            "task": TASK,
            "scale": self.images.scale,
        }
        return {"input": images, "stem": {"width": [0], "stride": [1]}, "stages": [isotropic_stage(size)]}

    @property
    def sides(self) -> Side:
        return self.images.deployed

    @property
    def training_lines(self) -> list[str]:
        return [
            f"patch: {self.images.patch}  # pixels a side of what networks train on, before it is enlarged",
            f"patches: {PATCHES}  # of each photo in an epoch",
            "augment: {flip: true, turn: true}  # turn: false where up and down matter",
        ]

    @property
    def stronger_lines(self) -> list[str]:
        return []


def photo_drafts(images: PhotoSet) -> list[Draft]:
    """The drafts for some photos, from the largest to the cheapest."""
    return [PhotoDraft(images, min(images.deployed), size) for size in SPACES]
