"""The networks by which the fidelity of a supernet is judged: evenly over the logarithm of MACs."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import numpy as np

from ffnet_search.space.architecture import Architecture
from ffnet_search.space.search_space import SearchSpace

POOL = 1000  # random architectures that networks are chosen from


def choose_networks(space: SearchSpace, count: int, seed: int = 0) -> dict[str, Architecture]:
    """Choose `count` networks of the space: the smallest, the largest, presets, then those that fill the largest gaps.

    Each of the last is the one of `POOL` random architectures that is farthest in log MACs from all before it, so that
    a greater `count` adds networks and keeps the others. Named by end, preset or key."""
    rng = random.Random(f"fidelity {seed}")
    named = {"smallest": space.smallest, "largest": space.largest, **space.presets}
    chosen: dict[str, Architecture] = {}
    for name, arch in named.items():
        if len(chosen) < count and arch not in chosen.values():
            chosen[name] = arch
    drawn = dict.fromkeys(space.sample(rng) for _ in range(POOL))
    pool = [arch for arch in drawn if arch not in chosen.values()]
    logs_P = np.log([arch.macs_m for arch in pool])
    gaps_P = np.full(len(pool), np.inf)
    for arch in chosen.values():
        gaps_P = np.minimum(gaps_P, abs(logs_P - math.log(arch.macs_m)))
    for _ in range(min(count - len(chosen), len(pool))):
        index = int(np.argmax(gaps_P))
        chosen[pool[index].key] = pool[index]
        gaps_P = np.minimum(gaps_P, abs(logs_P - logs_P[index]))
        gaps_P[index] = -np.inf  # also where another has as many MACs
    return chosen


def choose_repeated(networks: Mapping[str, Architecture], count: int) -> list[str]:
    """The names of `count` networks that are trained twice: spread over MACs, both ends among them."""
    ordered = sorted(networks, key=lambda name: networks[name].macs_m)
    count = min(count, len(ordered))
    if count < 2:
        return ordered[:count]
    return [ordered[round(index * (len(ordered) - 1) / (count - 1))] for index in range(count)]
