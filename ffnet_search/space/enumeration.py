"""Search spaces of so few networks that all of them are listed, and nothing about them is estimated."""

from __future__ import annotations

from itertools import product

from ffnet_search.space.architecture import Architecture
from ffnet_search.space.search_space import SearchSpace

MIN_FITTED_NETWORKS = 6  # networks that a latency model can be fitted to and checked on


def enumerated_networks(space: SearchSpace) -> tuple[Architecture, ...]:
    """All architectures of a space of fewer than `MIN_FITTED_NETWORKS`, the smallest first; none of a larger space."""
    if space.size >= MIN_FITTED_NETWORKS:
        return ()
    if not space.is_elastic:
        return (space.largest,) if space.has_network else ()
    axes = space.axes()
    found = dict.fromkeys((space.smallest, space.largest))
    for values in product(*axes.values()):
        if len(found) == space.size:  # the choices of an axis may all be one network: kernels of attention
            break
        found[space.build(dict(zip(axes, values, strict=True)))] = None
    return tuple(found)
