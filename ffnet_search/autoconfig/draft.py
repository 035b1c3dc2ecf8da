"""A sweep and a search space for what was found: the choices that a person would otherwise have to read up on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from ffnet_search.autoconfig.inspect import Found
from ffnet_search.space.search_space import SearchSpace

RESOLUTIONS = (8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224)
LEAST_RESOLUTION = 32  # of pictures that have more: below it objects are hard to tell, whatever the network
ENOUGH_RESOLUTION = 224  # what FFNets were published for is little more
Choices = tuple[tuple[int, ...], ...]  # per stage


@dataclass(frozen=True)
class Size:
    """How large the networks of a space may be. `pictures`: fewer of them do not fill larger networks."""

    name: str
    pictures: int
    stem: int
    depths: Choices
    widths: Choices
    expansions: tuple[int, ...]
    per_block: tuple[str, ...] = ()
    strides: int = 2  # of the stem, so many to choose from


SIZES = (  # widths are multiples of 16 beyond the first stages: runtimes charge 72 channels as 80
    Size(
        name="tiny",
        pictures=0,
        stem=16,
        depths=((1, 2), (1, 2), (1, 2), (1, 2)),
        widths=((16, 24, 32), (24, 32, 48), (48, 64, 96), (64, 96, 128)),
        expansions=(1, 2, 3),
        strides=1,
    ),
    Size(
        name="small",
        pictures=0,
        stem=16,
        depths=((1, 2), (1, 2), (1, 2, 3), (1, 2)),
        widths=((16, 24, 32), (32, 48, 64), (48, 64, 96, 128), (64, 96, 128, 160)),
        expansions=(1, 2, 3),
    ),
    Size(  # as search_spaces/ffnet_cifar.yaml
        name="medium",
        pictures=4_000,
        stem=32,
        depths=((1, 2, 3), (1, 2, 3), (2, 3, 4, 5, 6), (1, 2, 3)),
        widths=((32, 48, 64), (64, 80, 96, 112, 128), (128, 160, 192, 224, 256), (192, 256, 320, 384)),
        expansions=(2, 3, 4),
        per_block=("token_kernel", "expansion"),
    ),
)


@dataclass(frozen=True)
class Draft:
    """One candidate for a person's search space: a resolution and a size."""

    found: Found
    resolution: int
    size: Size

    @cached_property
    def space(self) -> SearchSpace:
        return SearchSpace.model_validate(self.content)

    @property
    def content(self) -> dict[str, object]:
        """The search space as it is written to its file."""
        count = 3 if self.resolution <= 24 else 4
        strides = [s for s in (1, 2, 4) if 2 <= self.resolution // (s * 2 ** (count - 1)) <= 8]
        strides = strides[-self.size.strides :]
        mixers = {count - 2: ["ffn_attention", "pool"], count - 1: ["ffn_attention", "pool", "attention"]}
        stages = []
        for number in range(count):
            pixels = self.resolution // (strides[0] * 2**number)  # side of the stage's map, at most
            kernels = [k for k in (3, 5, 7) if k <= max(3, pixels)]
            stage: dict[str, object] = {
                "depth": list(self.size.depths[number - count]),
                "width": list(self.size.widths[number - count]),
            }
            if number in mixers:
                stage["mixer"] = mixers[number]
            stage["token_kernel"] = kernels
            stage["channel_kernel"] = [k for k in kernels if k != 5] if number < count - 1 else [3]
            stages.append(stage | {"expansion": list(self.size.expansions)})
        content: dict[str, object] = {
            "input": {
                "channels": self.found.channels,
                "resolution": self.resolution,
                "classes": len(self.found.classes),
            },
            "stem": {"width": [self.size.stem], "stride": strides},
        }
        if self.size.per_block:
            content["per_block"] = list(self.size.per_block)
        return content | {"stages": stages}

    @property
    def step_macs(self) -> float:
        """Of the four networks of a training step, for one image."""
        space = self.space
        return 1e6 * (2 * space.largest.macs_m + 2 * space.smallest.macs_m)  # sampled ones lie between


def drafts(found: Found) -> list[Draft]:
    """From the one that uses all that the pictures show, to the cheapest."""
    most = min(found.side, ENOUGH_RESOLUTION)
    fitting = [r for r in RESOLUTIONS if r <= most] or [RESOLUTIONS[0]]
    resolutions = [r for r in fitting if r >= LEAST_RESOLUTION] or fitting[-1:]
    sizes = [size for size in SIZES if found.pictures >= size.pictures]
    made = [Draft(found, resolution, size) for resolution in resolutions for size in sizes]
    # Of two that cost about the same, the one that sees more.
    return sorted(made, key=lambda draft: (-round(4 * math.log(draft.step_macs)), -draft.resolution))
