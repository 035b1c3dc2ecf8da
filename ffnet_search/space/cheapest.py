"""The architecture of a search space with the least additive cost, exactly.

A cost that is a sum over `Architecture.parts` lets stages be optimised one after another (dynamic programming): a stage
depends on nothing but the width of the stage before it and the side of its map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from itertools import product
from typing import NamedTuple

from ffnet_search.space.architecture import Architecture, Stage, Stem, head_parts, merging_part, stem_part
from ffnet_search.space.block import BLOCK_AXES, block_parts, shared_block
from ffnet_search.space.parts import Part
from ffnet_search.space.registry import TrunkStage
from ffnet_search.space.search_space import SearchSpace

Cost = Callable[[Part], float]
Total = Callable[[Iterable[float]], float]  # of the costs of parts: `sum`, or `max`


def smallest_reachable(space: SearchSpace, cost: Cost, total: Total = sum) -> tuple[Architecture, float]:
    """The architecture of `space` with the least sum of `cost` over its parts (or the least maximum), and that.

    `cost` may be negative, but must depend on the part alone. It is called once for each different part: 717 times
    in the shipped space for CIFAR, which has 10^20 architectures.

    >>> space = SearchSpace.from_yaml("search_spaces/ffnet_digits.yaml")  # doctest: +SKIP
    >>> smallest_reachable(space, lambda part: part.params / 1e6)  # doctest: +SKIP
    """
    if not space.is_elastic:
        return space.largest, total(map(cost, space.largest.parts))
    tables = _Costs(space, cost, total)
    best: dict[tuple[int, int], _Prefix] = {}  # (width of the last stage, side of its map) -> cheapest network so far
    for width, stride, first in product(space.stem.width, space.stem.stride, space.stages[0].width):
        stem = Stem(width, stride)
        side = stem.side_after(space.images.resolution)
        stage = tables.stage(0, side, first)
        _keep(best, (first, side), _Prefix(total((tables.stem(stem, first), stage.cost)), stem, (stage.value,)))
    for index in range(1, len(space.stages)):
        before, best = best, {}
        for ((width_before, side), prefix), width in product(before.items(), space.stages[index].width):
            half = -(-side // 2)
            stage = tables.stage(index, half, width)
            so_far = total((prefix.cost, tables.merging(index, side, width_before, width), stage.cost))
            _keep(best, (width, half), _Prefix(so_far, prefix.stem, (*prefix.stages, stage.value)))
    least, prefix = min(
        ((total((prefix.cost, tables.head(side, width))), prefix) for (width, side), prefix in best.items()),
        key=lambda pair: pair[0],
    )
    return Architecture(prefix.stem, prefix.stages, space.largest.input), least


class _Prefix(NamedTuple):
    """A network up to some stage."""

    cost: float
    stem: Stem
    stages: tuple[Stage, ...]


class _CheapestStage(NamedTuple):
    cost: float
    value: Stage


def _keep(best: dict[tuple[int, int], _Prefix], state: tuple[int, int], prefix: _Prefix) -> None:
    if state not in best or prefix.cost < best[state].cost:
        best[state] = prefix


class _Costs:
    """Costs of the parts of a space's networks, each asked for once."""

    def __init__(self, space: SearchSpace, cost: Cost, total: Total) -> None:
        self.space, self.total = space, total
        self.cost_of = cache(cost)
        self._stages: dict[tuple[int, int, int], _CheapestStage] = {}
        self._multipliers = [stage.multiplier for stage in space.largest.stages]

    def stem(self, stem: Stem, width: int) -> float:
        images = self.space.images
        return self.cost_of(stem_part(images.resolution, images.channels, width, stem.width, stem.stride))

    def merging(self, index: int, side: int, before: int, width: int) -> float:
        return self.cost_of(merging_part(side, before, width, before * self._multipliers[index]))

    def head(self, side: int, width: int) -> float:
        return self.total(map(self.cost_of, head_parts(self.space.images, (TrunkStage(width, side),))))

    def stage(self, index: int, side: int, width: int) -> _CheapestStage:
        """The cheapest depth and blocks of a stage at this width, without the patch merging in front of it.

        It repeats one block, whether the axes of blocks are chosen per stage or per block: the cost of a block depends
        on no other.
        """
        state = (index, side, width)
        if state not in self._stages:
            choices = self.space.stages[index]
            options = []
            for values in product(*map(choices.choices, BLOCK_AXES)):
                block = shared_block(*values)
                cost = self.total(map(self.cost_of, block_parts(block, side, width)))
                for depth in choices.depth:
                    stage = Stage(width, (block,) * depth, self._multipliers[index])
                    options.append(_CheapestStage(self.total([cost] * depth), stage))
            self._stages[state] = min(options, key=lambda option: option.cost)
        return self._stages[state]
