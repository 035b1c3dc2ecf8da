"""The networks that a front is compared with: FFNets scaled by hand, and the ends of the space.

By hand means: the widths of all stages scaled together, all other choices as published, if the space has them.
"""

from __future__ import annotations

from collections.abc import Sequence

from ffnet_search.space.architecture import Architecture
from ffnet_search.space.block import Choice
from ffnet_search.space.search_space import SearchSpace

SCALES = (0.0, 0.5, 1.0)  # of the widths of the space, from the least to the greatest
PUBLISHED = {"mixer": "ffn_attention", "expansion": 3}  # of FFNets (paper, table 1)
FINEST = ("stride", "output")  # axes that take their first choice
WIDTH = "width"


def by_hand(space: SearchSpace) -> dict[str, Architecture]:
    """Name -> network: the ends of the space, and FFNets of widths scaled together; equal ones have the first name."""
    networks = {"smallest": space.smallest}
    for number, scale in enumerate(SCALES, 1):
        choices = {name: _by_hand(name.rpartition(".")[2], values, scale) for name, values in space.axes().items()}
        networks[f"width{number}"] = space.build(choices)
    networks["largest"] = space.largest
    first = {arch: name for name, arch in reversed(networks.items())}
    return {name: arch for name, arch in networks.items() if first[arch] == name}


def _by_hand(axis: str, values: Sequence[Choice], scale: float) -> Choice:
    if axis == WIDTH:
        return values[round(scale * (len(values) - 1))]
    if axis in FINEST:
        return values[0]
    if PUBLISHED.get(axis) in values:
        return values[values.index(PUBLISHED[axis])]
    return values[len(values) // 2]
