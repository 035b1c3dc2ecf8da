"""Two anchor networks, and the mix of them that a measurement is divided by.

There are two because there are two drifts: computing on data in the core's own cache slows down by other causes than
fetching weights in every run. With one anchor, small networks with many weights drifted by 20 % against it between two
passes, minutes apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ffnet_search.latency.timing import Mix, mixed
from ffnet_search.space.architecture import Architecture, Input, Stem
from ffnet_search.space.block import Block

RESIDENT_M = 0.25  # million weights that stay in a core's own cache of 1 MB between runs


@lru_cache
def anchors(input: Input) -> tuple[Architecture, Architecture]:
    """A light network, whose weights stay in the core's own cache, and a heavy one, which mostly fetches weights."""
    shrink = input.resolution > 64

    def network(stride: int, *stages: tuple[int, int], kernel: int, expansion: int) -> Architecture:
        depths, widths = zip(*stages, strict=True)
        block = Block("ffn_attention", kernel, expansion=expansion)
        return Architecture.uniform(depths, widths, (block,) * len(stages), Stem(16, stride), input)

    light = network(4 if shrink else 1, (1, 32), (1, 48), (1, 64), kernel=5, expansion=3)
    heavy = network(4, (1, 64), (1, 128), (2, 256), (2, 384), kernel=3, expansion=4)
    return light, heavy


def mix(macs_m: float, weights_m: float, input: Input) -> Mix:
    """Shares (light, heavy) of the anchors that together resemble a network with these millions of MACs and weights.

    The heavy share fetches as many weights, and both shares together compute as many MACs.
    """
    light, heavy = anchors(input)
    heavy_share = max(0.0, weights_m - RESIDENT_M) / (heavy.params_m - RESIDENT_M)
    light_share = max(0.0, macs_m - heavy_share * heavy.macs_m) / light.macs_m
    return light_share, heavy_share


def mix_ms(macs_m: float, weights_m: float, input: Input, anchors_ms: Sequence[float]) -> float:
    """Milliseconds of the mix: the unit that a ratio is multiplied by."""
    return mixed(mix(macs_m, weights_m, input), anchors_ms)
