"""The plan of a latency table: the parts and networks to measure, in order. Of a few networks, each is measured."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from itertools import product
from typing import Any

from ffnet_search.config.schema import LatencySection
from ffnet_search.latency.jobs import Job, network_job, part_job
from ffnet_search.latency.measure import PASSES
from ffnet_search.latency.part_model import choose
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.block import BLOCK_AXES, axes_of
from ffnet_search.space.enumeration import enumerated_networks
from ffnet_search.space.parts import Part
from ffnet_search.space.search_space import SearchSpace

COPIES = 4  # of a part in a chain, so that the call and the copies in and out weigh little
TOLERANCE = 0.06  # standard deviation that interpolation may have: sets how many parts are measured
OVERHEAD_PARTS = 16  # about so many are measured alone and in a chain: the difference is the overhead of a call
DRAWS = 50  # per network, before a small space counts as exhausted
BLOCK_PARTS = tuple(dict.fromkeys(axis.part for axis in BLOCK_AXES.values()))  # residual: a chain of them fits


def parts_of(space: SearchSpace) -> list[Part]:
    """Every part that an architecture of `space` can have, ordered by name."""
    axes = space.axes()
    first = {name: values[0] for name, values in axes.items()}
    without_block = {name: re.sub(r"\.block[0-9]+\.", ".", name) for name in axes}
    parts: set[Part] = set()
    of_head = {f"head.{name}": choices for name, choices in space.head_axes.items()} if space.stages else {}

    def add(stem: tuple[int, int], choices: Mapping[str, Any]) -> None:
        # They name an axis without its block, as `stage2.mixer`: all blocks of the stage choose alike.
        spread = {name: choices[alike] for name, alike in without_block.items() if alike in choices}
        parts.update(space.build(first | {"stem.width": stem[0], "stem.stride": stem[1]} | spread).parts)

    for stem in product(space.stem.width, space.stem.stride):
        for number, stage in enumerate(space.stages, 1):
            here = f"stage{number}"
            for width, *head in product(stage.width, *of_head.values()):
                add(stem, {f"{here}.width": width, **dict(zip(of_head, head, strict=True))})
            if number > 1:
                for before, width in product(space.stages[number - 2].width, stage.width):
                    add(stem, {f"stage{number - 1}.width": before, f"{here}.width": width})
            for axes_of_part in map(axes_of, BLOCK_PARTS):
                names = [f"{here}.{name}" for name in ("width", *axes_of_part)]
                for choices in product(stage.width, *map(stage.choices, axes_of_part)):
                    add(stem, dict(zip(names, choices, strict=True)))
    return sorted(parts, key=lambda part: part.key)


class Plan:
    """The measurements for a table: chosen parts, a few of them twice, and networks to fit and to check on; of a space
    of a few networks (`is_exact`) all of these and no part."""

    def __init__(self, space: SearchSpace, section: LatencySection, seed: int) -> None:
        few = enumerated_networks(space)
        self.is_exact = bool(few)
        self.parts = [] if few else parts_of(space)
        self.chosen = choose(self.parts, TOLERANCE)
        chained = [part for part in self.chosen if isinstance(part, BLOCK_PARTS)]
        wanted = section.calibration + section.held_out
        self.networks = list(few) or _draw(space, wanted, random.Random(seed))
        enough = len(self.networks) >= wanted
        self.fitted = 0 if few else section.calibration if enough else len(self.networks) // 3
        self.chains = {part: part_job(part, COPIES) for part in chained}
        self.singles = {part: part_job(part) for part in self.chosen if part not in self.chains}
        # For the overhead of a call, some parts in chains are measured alone too.
        twice = chained[:: max(1, len(chained) // OVERHEAD_PARTS)]
        self.alone = {part: part_job(part) for part in twice}
        self.part_jobs = [*self.chains.values(), *self.singles.values(), *self.alone.values()]
        # Neighbours in time should not be neighbours in the table: a disturbed minute then spoils no family.
        parts = random.Random(seed).sample(self.part_jobs, len(self.part_jobs))
        self.jobs: list[Job] = []
        for number in range(PASSES):
            self.jobs += parts[number::PASSES]
            self.jobs += [network_job(arch, number) for arch in self.networks]


def _draw(space: SearchSpace, count: int, rng: random.Random) -> list[Architecture]:
    """Draw distinct networks: the smallest and the largest, then random ones, or all of a small space."""
    networks = dict.fromkeys((space.smallest, space.largest))
    for _ in range(DRAWS * count):
        if len(networks) >= min(count, space.size):
            break
        networks[space.sample(rng)] = None
    return list(networks)
