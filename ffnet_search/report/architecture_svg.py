"""A drawing of one network as SVG: a row per stage, its blocks as boxes whose height grows with the width.

A box shows a token mixer (colour: which one; its kernel) above its channel mixer (kernel, expansion). Equal blocks in a
row are drawn as slabs behind the first. Plain SVG with its own style sheet, light and dark: in a page, or as a file.
"""

from __future__ import annotations

import math
from html import escape

from ffnet_search.space.architecture import Architecture, Stage
from ffnet_search.space.block import BLOCK_AXES, Block, axes_of
from ffnet_search.space.mixers import MIXERS, find_mixer
from ffnet_search.space.parts import ChannelMixerPart, Part, TokenMixerPart

LABEL, GAP, BOX, SLAB = 128, 10, 96, 12  # widths in pixels: of a row's label, between boxes, of a box, of one behind it
LEAST, MOST = 36, 76  # heights of a block in pixels

STYLE = """
.network text { font: 12px system-ui, sans-serif; fill: #1c2024 } .network .small { font-size: 11px; fill: #5a6470 }
.network .on { fill: #fff; font-weight: 600; text-anchor: middle } .network .in { text-anchor: middle }
.network .channel { fill: #e3e8ee; stroke: #c3cbd4 } .network .end { fill: #f1f4f7; stroke: #c3cbd4 }
@media (prefers-color-scheme: dark) {
  .network text { fill: #e8ecf0 } .network .small { fill: #a3afbb } .network .on { fill: #fff }
  .network .channel { fill: #333c46; stroke: #4c5864 } .network .end { fill: #242b32; stroke: #4c5864 }
}
"""


def draw(arch: Architecture) -> str:
    """The drawing, its title and description (for those who cannot see it) included."""
    widest = max(stage.width for stage in arch.stages)
    rows, y, right = [], 8, LABEL
    sides = [part.resolution for part in arch.parts if isinstance(part, ChannelMixerPart)]
    for number, stage in enumerate(arch.stages, 1):
        height = _height(stage.width, widest)
        side = sides[sum(earlier.depth for earlier in arch.stages[: number - 1])]
        row, end = _row(number, stage, side, y, height)
        rows.append(row)
        y, right = y + height + 18, max(right, end)
    top, bottom = _end(_stem(arch), 8), _end(f"mean, linear: {arch.input.outputs} classes", y + 34)
    legend, width = _legend(arch, y + 76)
    width, height = max(right, width, LABEL + 330), y + 92
    shifted = f'<g transform="translate(0 34)">{"".join(rows)}</g>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'class="network" role="img" aria-label="{escape(describe(arch))}"><title>Network {arch.key}</title>'
        f"<desc>{escape(describe(arch))}</desc><style>{STYLE}</style>{top}{shifted}{bottom}{legend}</svg>"
    )


def describe(arch: Architecture) -> str:
    """The network in words, stage by stage.

    >>> describe(Architecture.preset("ffnet_1"))[:60]
    'Stem of width 64 and stride 4. Stage 1: 2 blocks of 80 chann'
    """
    words = [f"Stem of width {arch.stem.width} and stride {arch.stem.stride}."]
    for number, stage in enumerate(arch.stages, 1):
        blocks = ", ".join(f"{count} x {_mixer(block)} with {_channel_mixer(block)}" for block, count in stage.runs())
        plural = "block" if stage.depth == 1 else "blocks"
        words.append(f"Stage {number}: {stage.depth} {plural} of {stage.width} channels: {blocks}.")
    return " ".join([*words, f"Head of {arch.input.outputs} classes."])


def _mixer(block: Block) -> str:
    """`FFN attention 7 x 7`."""
    return " ".join([find_mixer(block.mixer).title(), *_drawn(block, TokenMixerPart)])


def _channel_mixer(block: Block) -> str:
    """`channel kernel 3 and expansion 3`."""
    return " and ".join(f"{name.replace('_', ' ')} {getattr(block, name)}" for name in axes_of(ChannelMixerPart))


def _drawn(block: Block, part: type[Part]) -> list[str]:
    """The choices of a kind of part as they stand in a box, but for the mixer and what has no effect beside it."""
    axes = {name: BLOCK_AXES[name] for name in axes_of(part) if name != "mixer"}
    return [axis.drawn.format(getattr(block, name)) for name, axis in axes.items() if axis.applies(block.mixer)]


def _height(width: int, widest: int) -> int:
    return round(LEAST + (MOST - LEAST) * math.sqrt(width / widest))


def _row(number: int, stage: Stage, side: int, y: int, height: int) -> tuple[str, int]:
    middle = y + height // 2
    text = [
        f'<text x="0" y="{middle - 2}">stage {number}: {stage.width} channels</text>',
        f'<text class="small" x="0" y="{middle + 13}">{side} x {side} pixels</text>',
    ]
    x = LABEL + 16
    for block, count in stage.runs():
        slabs = min(count, 8) - 1  # the number says the rest
        text += [_box(block, x + behind * SLAB, y, height, behind=True) for behind in range(slabs, 0, -1)]
        text.append(_box(block, x, y, height))
        x += BOX + slabs * SLAB
        if count > 1:
            text.append(f'<text x="{x + 5}" y="{middle + 4}">x {count}</text>')
            x += 30
        x += GAP
    return "".join(text), x


def _box(block: Block, x: int, y: int, height: int, behind: bool = False) -> str:
    colour = find_mixer(block.mixer).colour
    half = height // 2
    shapes = (
        f'<rect x="{x}" y="{y}" width="{BOX}" height="{height}" rx="5" class="channel"/>'
        f'<path d="M{x} {y + half}v-{half - 5}a5 5 0 0 1 5 -5h{BOX - 10}a5 5 0 0 1 5 5v{half - 5}z" fill="{colour}" '
        'stroke="#fff" stroke-opacity=".55"/>'
    )
    if behind:
        return shapes
    middle = x + BOX // 2
    token = ", ".join(_drawn(block, TokenMixerPart)) or "global"
    return (
        f'{shapes}<text class="on" x="{middle}" y="{y + half // 2 + 4}">{token}</text><text class="in" x="{middle}" '
        f'y="{y + half + half // 2 + 4}">{", ".join(_drawn(block, ChannelMixerPart))}</text>'
    )


def _stem(arch: Architecture) -> str:
    stem: Part = arch.parts[0]
    shape = f"{stem.in_width} x {stem.resolution} x {stem.resolution}"
    return f"image {shape}; stem of width {stem.hidden}, stride {stem.stride}"


def _end(text: str, y: int) -> str:
    width = 7 * len(text) + 20
    shape = f'<rect class="end" x="0.5" y="{y - 7}" width="{width}" height="26" rx="13"/>'
    return f'{shape}<text x="11" y="{y + 10}">{text}</text>'


def _legend(arch: Architecture, y: int) -> tuple[str, int]:
    x, text = 0, []
    used = {block.mixer for stage in arch.stages for block in stage.blocks}
    shipped = [mixer for mixer in MIXERS if mixer in used]
    for mixer in map(find_mixer, [*shipped, *sorted(used.difference(MIXERS))]):
        name = f"{mixer.title()}: token kernel"
        text.append(f'<rect x="{x}" y="{y}" width="11" height="11" rx="2" fill="{mixer.colour}"/>')
        text.append(f'<text class="small" x="{x + 16}" y="{y + 10}">{name}</text>')
        x += 26 + round(5.8 * len(name)) + GAP
    name = "channel mixer: " + ", ".join(axis.rpartition("_")[2] for axis in axes_of(ChannelMixerPart))
    text.append(f'<rect class="channel" x="{x}" y="{y}" width="11" height="11" rx="2"/>')
    text.append(f'<text class="small" x="{x + 16}" y="{y + 10}">{name}</text>')
    return "".join(text), x + 26 + round(5.8 * len(name))
