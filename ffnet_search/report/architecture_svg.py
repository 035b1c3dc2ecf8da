"""A drawing of one network as SVG: a row per stage, its blocks as boxes whose height grows with the width.

A box shows a token mixer (its colour and kernel) above its channel mixer. Equal blocks in a row are drawn as slabs
behind the first. Positions are computed here, `network.svg.j2` draws them, with a style sheet for light and dark pages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ffnet_search.report.templates import load_template
from ffnet_search.space.architecture import Architecture, Stage, Stem
from ffnet_search.space.block import BLOCK_AXES, Block, axes_of
from ffnet_search.space.mixers import MIXERS, find_mixer
from ffnet_search.space.parts import ChannelMixerPart, Part, TokenMixerPart
from ffnet_search.space.sides import spelled
from ffnet_search.tasks.base import task_of

# Widths in pixels, as all sizes: of a row's label, between boxes, of a box, of a slab behind it, of a count.
LABEL, GAP, BOX, SLAB, COUNT = 128, 10, 96, 12, 30
MIN_HEIGHT, MAX_HEIGHT = 36, 76  # heights of a block
MAX_SLABS = 7  # behind the first block: the count shows the rest
TOP, BETWEEN = 42, 18  # above the first row, and between rows


class Box(NamedTuple):
    """A block, or a slab behind it."""

    x: int
    y: int
    height: int
    colour: str
    width: int = BOX


class Run(NamedTuple):
    """`length` equal blocks: the front one with its texts, and the slabs behind it, rearmost first."""

    front: Box
    slabs: Sequence[Box]
    token: str
    channel: str
    length: int

    @property
    def right(self) -> int:
        """The right end of its boxes."""
        return self.front.x + BOX + len(self.slabs) * SLAB


class Row(NamedTuple):
    """A stage. `side`: of its maps; `middle`: where its texts are; `right`: where it ends."""

    title: str
    side: str
    middle: int
    runs: Sequence[Run]
    right: int


class Entry(NamedTuple):
    """An entry of the legend; the channel mixer's has no colour."""

    x: int
    colour: str
    text: str

    @property
    def right(self) -> int:
        """The end of its text, by the mean width of a letter."""
        return self.x + 26 + round(5.8 * len(self.text))


def draw(arch: Architecture) -> str:
    """The drawing as SVG, with a title and a description for those who cannot see it."""
    task, stem = task_of(arch.input), arch.parts[0]
    rows = list(_rows(arch))
    legend = list(_legend(arch))
    legend_y = TOP + sum(_height(arch, stage) + BETWEEN for stage in arch.stages) + 42
    return load_template("network.svg.j2").render(
        key=arch.key,
        words=describe(arch),
        stem=f"image {stem.in_width} x {spelled(arch.input.resolution)}; stem {_stem_words(arch.stem, ',')}",
        rows=rows,
        head=f"{_head_words(arch)}: {task.outputs_words(arch.input.outputs)}",
        legend=legend,
        legend_y=legend_y,
        width=max([LABEL + 330, legend[-1].right, *(row.right for row in rows)]),
        height=legend_y + 16,
    )


def _head_words(arch: Architecture) -> str:
    """`mean, linear`; with the choices of a head that has some: `summed laterals, 1 x 1 (w32 s4 logits)`."""
    words, choices = task_of(arch.input).head_words, str(arch.head)
    return f"{words} ({choices})" if choices else words


def describe(arch: Architecture) -> str:
    """The network in words, stage by stage.

    >>> describe(Architecture.preset("ffnet_1"))[:60]
    'Stem of width 64 and stride 4. Stage 1: 2 blocks of 80 chann'"""
    words = [f"Stem {_stem_words(arch.stem, ' and')}."]
    for number, stage in enumerate(arch.stages, 1):
        blocks = ", ".join(f"{count} x {_words(block)}" for block, count in stage.runs())
        plural = "block" if stage.depth == 1 else "blocks"
        words.append(f"Stage {number}: {stage.depth} {plural} of {stage.width} channels: {blocks}.")
    outputs, choices = task_of(arch.input).outputs_words(arch.input.outputs), str(arch.head)
    words.append(f"Head of {outputs}: {choices}." if choices else f"Head of {outputs}.")
    return " ".join(words)


def _stem_words(stem: Stem, between: str) -> str:
    return f"of width {stem.width}{between} stride {stem.stride}" if stem.width else "of one convolution"


def _words(block: Block) -> str:
    """`FFN attention 7 x 7 with channel kernel 3 and expansion 3`."""
    token = " ".join([find_mixer(block.mixer).title(), *_drawn(block, TokenMixerPart)])
    channel = " and ".join(f"{name.replace('_', ' ')} {getattr(block, name)}" for name in axes_of(ChannelMixerPart))
    return f"{token} with {channel}"


def _drawn(block: Block, part: type[Part]) -> list[str]:
    """The choices of a kind of part as a box shows them: without the mixer, and without axes that have no effect."""
    axes = {name: BLOCK_AXES[name] for name in axes_of(part) if name != "mixer"}
    return [axis.drawn.format(getattr(block, name)) for name, axis in axes.items() if axis.applies(block.mixer)]


def _height(arch: Architecture, stage: Stage) -> int:
    widest = max(other.width for other in arch.stages)
    return round(MIN_HEIGHT + (MAX_HEIGHT - MIN_HEIGHT) * math.sqrt(stage.width / widest))


def _rows(arch: Architecture) -> Iterator[Row]:
    sides = [part.resolution for part in arch.parts if isinstance(part, ChannelMixerPart)]  # a block has one
    y, block_number = TOP, 0
    for number, stage in enumerate(arch.stages, 1):
        height = _height(arch, stage)
        x, runs = LABEL + 16, []
        for block, count in stage.runs():
            run = _run(block, count, Box(x, y, height, find_mixer(block.mixer).colour))
            runs.append(run)
            x = run.right + GAP + (COUNT if count > 1 else 0)
        yield Row(f"stage {number}: {stage.width} channels", spelled(sides[block_number]), y + height // 2, runs, x)
        y += height + BETWEEN
        block_number += stage.depth


def _run(block: Block, count: int, front: Box) -> Run:
    slabs = min(count - 1, MAX_SLABS)
    behind = [front._replace(x=front.x + number * SLAB) for number in range(slabs, 0, -1)]
    token = ", ".join(_drawn(block, TokenMixerPart)) or "global"
    return Run(front, behind, token, ", ".join(_drawn(block, ChannelMixerPart)), count)


def _legend(arch: Architecture) -> Iterator[Entry]:
    used = {block.mixer for stage in arch.stages for block in stage.blocks}
    registered = [name for name in MIXERS if name in used]
    x = 0
    for name in [*registered, *sorted(used.difference(MIXERS))]:
        mixer = find_mixer(name)
        entry = Entry(x, mixer.colour, f"{mixer.title()}: token kernel")
        yield entry
        x = entry.right + GAP
    yield Entry(x, "", "channel mixer: kernel, expansion")
