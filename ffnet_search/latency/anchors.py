"""The two anchor networks of a bench, and the mix of them that resembles a network.

There are two because speed drifts in two ways: computing on cached data slows down for other reasons than fetching
weights from memory in every run. With one anchor, small networks with many weights drifted by 20 % against it between
two passes, minutes apart.
"""

from __future__ import annotations

import math
from functools import lru_cache

from ffnet_search.latency.timing import Mix
from ffnet_search.space.architecture import Architecture, Stem
from ffnet_search.space.block import Block
from ffnet_search.space.input import Input
from ffnet_search.space.registry import DEFAULT_TASK
from ffnet_search.space.sides import pixels, square

RESIDENT_M = 0.25  # million weights that stay in a core's own cache of 1 MB between runs
LEAST_M = 1e-6  # million MACs of what has none, such as a mixer that averages: times are ratios to the mix


@lru_cache
def anchors(input: Input) -> tuple[Architecture, Architecture]:
    """A light network, whose weights stay in the core's own cache, and a heavy one, which mostly fetches weights.

    Both are classifiers of square images, for every task and image shape."""
    if input.task != DEFAULT_TASK or isinstance(input.resolution, tuple):
        input = Input(input.channels, round(math.sqrt(pixels(input.resolution))), max(2, input.outputs))
    shrink = square(input.resolution) > 64

    def network(stride: int, *stages: tuple[int, int], kernel: int, expansion: int) -> Architecture:
        depths, widths = zip(*stages, strict=True)
        block = Block("ffn_attention", kernel, expansion=expansion)
        return Architecture.uniform(depths, widths, (block,) * len(stages), Stem(16, stride), input)

    light = network(4 if shrink else 1, (1, 32), (1, 48), (1, 64), kernel=5, expansion=3)
    heavy = network(4, (1, 64), (1, 128), (2, 256), (2, 384), kernel=3, expansion=4)
    return light, heavy


def mix(macs_m: float, weights_m: float, input: Input) -> Mix:
    """Shares (light, heavy) of the anchors that together resemble a network with these millions of MACs and weights.

    The heavy share fetches as many weights, and both shares together compute as many MACs, at least one."""
    light, heavy = anchors(input)
    heavy_share = max(0.0, weights_m - RESIDENT_M) / (heavy.params_m - RESIDENT_M)
    light_share = max(0.0, max(LEAST_M, macs_m) - heavy_share * heavy.macs_m) / light.macs_m
    return light_share, heavy_share
