"""What is measured for a latency table: which parts, which networks, in what order, against which anchor."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

from torch import nn

from ffnet_search.config.schema import LatencySection
from ffnet_search.errors import SweepError
from ffnet_search.latency.backends.model_file import Model
from ffnet_search.latency.part_model import choose
from ffnet_search.latency.timing import Mix
from ffnet_search.models.deployed import deployed, deployed_part
from ffnet_search.space.architecture import Architecture, Input, Stem
from ffnet_search.space.parts import Part
from ffnet_search.space.search_space import SearchSpace

COPIES = 4  # of a part in a chain, so that the call and the copies in and out weigh little
TOLERANCE = 0.06  # standard deviation that interpolation may have: sets how many parts are measured
PASSES = 5  # over the networks, each compiled anew, seconds apart: what slows a machine down lasts for about ten
GROUP = 10  # compiled and interleaved at a time
GROUP_WEIGHTS_M = 64.0  # and at most so many million weights, so that memory stays small


RESIDENT_M = 0.25  # million weights that stay in a core's own cache of 1 MB between runs


@lru_cache
def anchors(input: Input) -> tuple[Architecture, Architecture]:
    """The networks whose times divide out drift: one whose weights stay in the core's own cache, and one that does
    little but fetch them."""
    shrink = input.resolution > 64

    def network(stride: int, *stages: tuple[int, int], kernel: int, expansion: int) -> Architecture:
        depths, widths = zip(*stages, strict=True)
        kernels, expansions = (kernel,) * len(stages), (expansion,) * len(stages)
        return Architecture.uniform(
            depths=depths,
            widths=widths,
            token_kernels=kernels,
            channel_kernels=(3,) * len(stages),
            expansions=expansions,
            stem=Stem(16, stride),
            input=input,
        )

    light = network(4 if shrink else 1, (1, 32), (1, 48), (1, 64), kernel=5, expansion=3)
    heavy = network(4, (1, 64), (1, 128), (2, 256), (2, 384), kernel=3, expansion=4)
    return light, heavy


def mix(macs_m: float, weights_m: float, input: Input) -> Mix:
    """How much of each anchor is like something with so many MACs and weights: as many weights to fetch as shares of
    the heavy one have, and as many MACs as both have together."""
    light, heavy = anchors(input)
    of_heavy = max(0.0, weights_m - RESIDENT_M) / (heavy.params_m - RESIDENT_M)
    of_light = max(0.0, macs_m - of_heavy * heavy.macs_m) / light.macs_m
    return of_light, of_heavy


def parts_of(space: SearchSpace) -> list[Part]:
    """Every part that an architecture of `space` can have, ordered by name."""
    axes = space.axes()
    first = {name: values[0] for name, values in axes.items()}
    parts: set[Part] = set()

    def add(stem: tuple[int, int], choices: Mapping[str, Any]) -> None:
        """`choices` may name an axis without its block: all blocks of the stage then choose alike."""
        spread = {name: choices[alike] for name in axes if (alike := _without_block(name)) in choices}
        built = space.build(first | {"stem.width": stem[0], "stem.stride": stem[1]} | spread)
        parts.update(built.parts)

    for stem in product(space.stem.width, space.stem.stride):
        for number, stage in enumerate(space.stages, 1):
            here = f"stage{number}"
            if number > 1:
                for before, width in product(space.stages[number - 2].width, stage.width):
                    add(stem, {f"stage{number - 1}.width": before, f"{here}.width": width})
            for width, mixer, kernel in product(stage.width, stage.mixer, stage.token_kernel):
                add(stem, {f"{here}.width": width, f"{here}.mixer": mixer, f"{here}.token_kernel": kernel})
            for width, kernel, expansion in product(stage.width, stage.channel_kernel, stage.expansion):
                add(stem, {f"{here}.width": width, f"{here}.channel_kernel": kernel, f"{here}.expansion": expansion})
    return sorted(parts, key=lambda part: part.key)


def _without_block(axis: str) -> str:
    """`stage2.mixer` of `stage2.block1.mixer`."""
    return re.sub(r"\.block[0-9]+\.", ".", axis)


@dataclass(frozen=True)
class Job:
    """One thing to measure: a chain of copies of a part, or a network in one of the passes. `net`: the network where
    it is there; otherwise it is made, with random weights."""

    id: str
    subject: Part | Architecture
    copies: int = 1
    net: nn.Module | None = field(default=None, compare=False)

    def build(self) -> nn.Module:
        if self.net is not None:
            return self.net
        if isinstance(self.subject, Architecture):
            return deployed(self.subject)
        return nn.Sequential(*(deployed_part(self.subject) for _ in range(self.copies))).train(False)

    def rounds(self, section: LatencySection) -> int:
        """A network has some in each pass: rounds at once are hardly better than one, since their noise is shared."""
        return -(-section.rounds // 3) if isinstance(self.subject, Architecture) else section.rounds

    def shape(self, batch: int) -> tuple[int, ...]:
        if isinstance(self.subject, Architecture):
            image = self.subject.input
            return batch, image.channels, image.resolution, image.resolution
        return batch, self.subject.in_width, self.subject.resolution, self.subject.resolution

    def model(self, batch: int, kept: Path | None = None) -> Model:
        """`kept`: the folder for networks' files."""
        keep = kept and self.net is None and isinstance(self.subject, Architecture)
        return Model(self.build, self.shape(batch), kept / self.subject.key if kept and keep else None)

    @property
    def macs_m(self) -> float:
        """Of one image."""
        return self.subject.macs_m if isinstance(self.subject, Architecture) else self.copies * self.subject.macs / 1e6

    @property
    def weights_m(self) -> float:
        if isinstance(self.subject, Architecture):
            return self.subject.params_m
        return self.copies * self.subject.params / 1e6


def network_job(arch: Architecture, number: int) -> Job:
    """A network in pass `number`."""
    return Job(f"{arch.key} pass {number}", arch)


def _chains(part: Part) -> bool:
    return part.kind in ("token_mixer", "channel_mixer")


class Plan:
    """What is measured for a table: chosen parts, a few of them twice, and networks to fit and to check on."""

    def __init__(self, space: SearchSpace, section: LatencySection, seed: int) -> None:
        self.parts = parts_of(space)
        self.chosen = choose(self.parts, TOLERANCE)
        chained = [part for part in self.chosen if _chains(part)]
        self.alone = chained[:: max(1, len(chained) // 16)]  # both alone and chained: they tell the overhead
        self.networks = _draw(space, section.calibration + section.held_out, random.Random(seed))
        enough = len(self.networks) >= section.calibration + section.held_out
        self.fitted = section.calibration if enough else len(self.networks) // 3
        self.chains = [Job(f"{COPIES} x {part.key}", part, COPIES) for part in chained]
        self.singles = [Job(part.key, part) for part in self.chosen if not _chains(part)]
        self.singles += [Job(part.key, part) for part in self.alone]
        # Neighbours in time should not be neighbours in the table: a disturbed minute then spoils no family.
        parts = random.Random(seed).sample(self.chains + self.singles, len(self.chains) + len(self.singles))
        self.jobs: list[Job] = []
        for number in range(PASSES):
            self.jobs += [*parts[number::PASSES], *(network_job(arch, number) for arch in self.networks)]


def _draw(space: SearchSpace, count: int, rng: random.Random) -> list[Architecture]:
    """Distinct networks: the smallest and the largest, then random ones (all there are, in a tiny space)."""
    networks = dict.fromkeys((space.smallest, space.largest))
    for _ in range(50 * count):
        if len(networks) >= min(count, space.size):
            break
        networks[space.sample(rng)] = None
    if len(networks) < 6:
        raise SweepError(
            f"search space {space.name}: must hold at least 6 networks for a latency table to be fitted and checked, "
            f"but holds {space.size}; add choices to an axis"
        )
    return list(networks)


def groups(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    """Jobs that are compiled and interleaved together."""
    group: list[Job] = []
    for job in jobs:
        if group and (len(group) == GROUP or sum(j.weights_m for j in group) + job.weights_m > GROUP_WEIGHTS_M):
            yield group
            group = []
        group.append(job)
    if group:
        yield group
