"""The sub-networks that the steps of a supernet's training draw."""

from __future__ import annotations

import math
import random
from functools import cached_property

from ffnet_search.space.architecture import Architecture
from ffnet_search.space.search_space import SearchSpace

POOL = 2000  # random architectures that the draws of a training are from
DRAW_ATTEMPTS = 20  # of these, for one draw


class SubnetworkDraws:
    """Draws sub-networks about evenly over the logarithm of MACs, so that no size is trained more than others.

    Drawn evenly over the axes, most networks would be mid-sized; and the smallest, if trained at each step as by the
    sandwich rule of BigNAS (arXiv 2003.11142), outperforms slightly larger ones, which is a wrong ranking
    (docs/log/supernet.md). A draw is the one of `DRAW_ATTEMPTS` random architectures whose MACs are nearest to a wanted
    number."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self.space, self.seed = space, seed

    @cached_property
    def _pool(self) -> list[tuple[float, Architecture]]:
        """Architectures with the logarithm of their MACs, the smallest among them."""
        rng = random.Random(f"sandwich {self.seed}")
        drawn = [self.space.smallest, *(self.space.sample(rng) for _ in range(POOL - 1))]
        return [(math.log(arch.macs_m), arch) for arch in drawn]

    def of_step(self, step: int, count: int) -> list[Architecture]:
        """The `count` sub-networks of a step: a function of (seed, step), so that ranks agree and a resumed run
        repeats."""
        rng = random.Random(f"sandwich {self.seed} {step}")
        low, high = math.log(self.space.smallest.macs_m), math.log(self.space.largest.macs_m)
        drawn = []
        for _ in range(count):
            wanted = rng.uniform(low, high)
            tried = [rng.choice(self._pool) for _ in range(DRAW_ATTEMPTS)]
            drawn.append(min(tried, key=lambda one: abs(one[0] - wanted))[1])
        return drawn
